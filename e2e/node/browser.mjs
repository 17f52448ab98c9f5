// A real browser, headless, that trusts the demo's authority because its CA is in the browser's own certificate store,
// as a person would put it there: no certificate error is ignored.

import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
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

/** Keeps pictures of a page on a wide and on a small screen, on both of which all of it must fit. */
export async function look(name, page) {
  const before = page.viewportSize();
  for (const [suffix, size] of [['', before], ['-small', { width: 360, height: 640 }]]) {
    await page.setViewportSize(size);
    await page.screenshot({ path: join(screenshots, `${name}${suffix}.png`), fullPage: true });
    const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (wide > seen) throw new Error(`${name} is ${wide} wide on a screen of ${seen}`);
  }
  await page.setViewportSize(before);
}

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

/** What the web client was told at the address that it registered for signing out. */
export const told = [];

// The web client's own page, where the authority sends the browser back to.
const callback = once(
  () =>
    new Promise((resolve, reject) => {
      const server = createServer((request, response) => {
        if (request.url.startsWith('/signed-out')) told.push(new URL(request.url, REDIRECT));
        response.end('You are signed in; this is the client.');
      });
      server.once('error', reject);
      server.listen(Number(new URL(REDIRECT).port), 'localhost', () => resolve(server));
    }),
);

/** An authenticator app (RFC 6238). A code works once, so the next one is shown where the present one was used. */
export class Device {
  #secret;
  #step = 0;

  scan(uri) {
    const text = new URL(uri).searchParams.get('secret');
    const bits = [...text].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
    this.#secret = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  }

  code() {
    this.#step = Math.max(Math.floor(Date.now() / 30_000), this.#step + 1);
    const factor = Buffer.alloc(8);
    factor.writeBigUInt64BE(BigInt(this.#step));
    const tag = createHmac('sha1', this.#secret).update(factor).digest();
    const number = tag.readUInt32BE(tag[19] & 15) & 0x7fffffff;
    return String(number % 1_000_000).padStart(6, '0');
  }
}

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
export async function signIn(url, user, { context, back = REDIRECT, ...how } = {}) {
  const own = context ?? (await profile());
  const page = await own.newPage();
  try {
    await page.goto(url.toString());
    await walk(page, user, (at) => at.startsWith(back), how);
    return new URL(page.url());
  } finally {
    await (context ? page : own).close();
  }
}

/** Goes through the authority's pages until the browser has `arrived`, or the page has closed itself. */
export async function walk(page, user, arrived, { see = () => {}, answer = 'accept', device, mistakes = 0 } = {}) {
  const closed = page.waitForEvent('close', { timeout: 0 }).catch(() => {});
  const moved = (act) => Promise.all([Promise.race([page.waitForNavigation(), closed]), act()]);
  for (let step = 0; step < 8; step += 1) {
    if (page.isClosed() || (await arrived(page.url(), page))) return;
    const password = page.locator('input[name=password]');
    const code = page.locator('input[name=code]');
    const recovery = page.locator('input[name=step][value=continue]');
    const reason = page.locator('textarea[name=reason]');
    const button = page.locator(`[name=action][value=${answer}]`);
    if (await password.count()) {
      await page.fill('input[name=username]', user.upn);
      await password.fill(user.password);
      await see('sign-in', page);
      await moved(() => password.press('Enter'));
    } else if (await recovery.count()) {
      await see('recovery-codes', page);
      await moved(() => page.locator('button[type=submit]').click());
    } else if (await code.count()) {
      const link = page.locator('a[href^="otpauth:"]');
      const name = (await link.count()) ? 'enrol' : 'code';
      const again = (await page.locator('[role=alert]').count()) > 0;
      if (name === 'enrol') device.scan(await link.getAttribute('href'));
      await see(again ? `${name}-wrong` : name, page);
      if (again && mistakes === 0) throw new Error(`the code was not taken: ${await page.innerText('body')}`);
      await code.fill(again || mistakes === 0 ? device.code() : '000000');
      await moved(() => code.press('Enter'));
    } else if (await button.count()) {
      if (await reason.count()) await reason.fill('I plan the trips of my department.');
      await see((await reason.count()) ? 'ask-admin' : 'consent', page);
      await moved(() => button.click());
    } else {
      throw new Error(`no form that the browser knows at ${page.url()}: ${await page.innerText('body')}`);
    }
  }
  throw new Error(`the pages go in a circle; the last one is ${page.url()}`);
}

export async function close() {
  if (!used) return;
  (await callback()).close();
  await (await running()).close();
  rmSync(home(), { recursive: true, force: true });
}
