// A real browser, headless, that trusts the demo's authority because its CA is in the browser's own certificate store,
// as a person would put it there: no certificate error is ignored.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { once } from './runner.mjs';
import { env, REDIRECT } from './world.mjs';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const screenshots = process.env.DEPUTIZE_SCREENSHOTS ?? 'target/screenshots';

const home = once(() => {
  const folder = mkdtempSync(join(tmpdir(), 'deputize-browser-'));
  const store = join(folder, '.pki', 'nssdb');
  mkdirSync(store, { recursive: true });
  execFileSync('certutil', ['-d', `sql:${store}`, '-N', '--empty-password']);
  execFileSync('certutil', ['-d', `sql:${store}`, '-A', '-t', 'C,,', '-n', 'deputize demo', '-i', env.ca_file]);
  return folder;
});

const running = once(() =>
  chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS, env: { ...process.env, HOME: home() } }),
);

// The web client's own page, where the authority sends the browser back to.
const callback = once(
  () =>
    new Promise((resolve, reject) => {
      const server = createServer((_, response) => response.end('You are signed in; this is the client.'));
      server.once('error', reject);
      server.listen(Number(new URL(REDIRECT).port), 'localhost', () => resolve(server));
    }),
);

let used = false;

/** A fresh browser profile: no cookies, no sessions. */
export async function profile(options = {}) {
  used = true;
  await callback();
  return (await running()).newContext({ viewport: { width: 1024, height: 768 }, ...options });
}

/**
 * Signs a user in from the authorize URL on and returns the URL at which the browser came back to the client. `see` is
 * told the name of every page on the way and shown it before anything is pressed.
 */
export async function signIn(url, user, { context, see = () => {}, answer = 'accept' } = {}) {
  const own = context ?? (await profile());
  const page = await own.newPage();
  try {
    await page.goto(url.toString());
    for (let step = 0; step < 6; step += 1) {
      if (page.url().startsWith(REDIRECT)) return new URL(page.url());
      const password = page.locator('input[name=password]');
      const button = page.locator(`[name=action][value=${answer}]`);
      const moved = (act) => Promise.all([page.waitForNavigation(), act()]);
      if (await password.count()) {
        await page.fill('input[name=username]', user.upn);
        await password.fill(user.password);
        await see('sign-in', page);
        await moved(() => password.press('Enter'));
      } else if (await button.count()) {
        await see('consent', page);
        await moved(() => button.click());
      } else {
        throw new Error(`no form that the browser knows at ${page.url()}: ${await page.innerText('body')}`);
      }
    }
    throw new Error(`the pages go in a circle; the last one is ${page.url()}`);
  } finally {
    await (context ? page : own).close();
  }
}

export async function close() {
  if (!used) return;
  (await callback()).close();
  await (await running()).close();
  rmSync(home(), { recursive: true, force: true });
}
