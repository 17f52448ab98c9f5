// Several accounts in one browser, and signing out of one: what people see, and what the client is told. Kept as pictures.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from './runner.mjs';
import { profile, screenshots, told } from './browser.mjs';
import { authorizeUrl } from './pages.mjs';
import { ada, authority, bob, REDIRECT, web } from './world.mjs';

const picture = (name, page) => page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
const moved = (page, act) => Promise.all([page.waitForNavigation(), act()]);
const plain = { scope: 'openid profile' };

/** Types a password where it is asked for, and agrees where that is. */
async function typed(page, user) {
  await page.fill('input[name=username]', user.upn);
  await page.fill('input[name=password]', user.password);
  await moved(page, () => page.locator('button[type=submit]').click());
  const accept = page.locator('[name=action][value=accept]');
  if (await accept.count()) await moved(page, () => accept.click());
}

async function both(options = {}) {
  const context = await profile(options);
  const page = await context.newPage();
  for (const user of [ada, bob]) {
    await page.goto(authorizeUrl({ ...plain, login_hint: user.upn }));
    await typed(page, user);
    assert.ok(page.url().startsWith(REDIRECT), page.url());
  }
  return { context, page };
}

const button = (page, user) => page.locator('button.pick', { hasText: user.upn });

test('the person picks one of two accounts with the keyboard, adds a third, and signs one out', async () => {
  const { context, page } = await both();
  await page.goto(authorizeUrl({ ...plain, prompt: 'select_account' }));
  await picture('accounts', page);
  await page.keyboard.press('Tab');
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  assert.match(await focused(), new RegExp(bob.upn), 'the newest comes first');
  await page.keyboard.press('Tab');
  assert.equal((await focused()).trim(), 'Sign out');
  assert.equal(await page.locator(`button[aria-label="Sign out ${bob.upn}"]`).count(), 1, 'and says of whom');
  await page.keyboard.press('Tab');
  assert.match(await focused(), new RegExp(ada.upn));
  await moved(page, () => page.keyboard.press('Enter'));
  assert.ok(new URL(page.url()).searchParams.get('code'));

  await page.goto(authorizeUrl({ ...plain, prompt: 'select_account' }));
  await moved(page, () => page.locator('button', { hasText: 'Use another account' }).click());
  assert.equal(await page.inputValue('input[name=username]'), '');
  await page.goto(authorizeUrl({ ...plain, prompt: 'select_account' }));
  await moved(page, () => page.locator(`button[aria-label="Sign out ${bob.upn}"]`).click());
  await page.waitForURL((url) => url.pathname.endsWith('/authorize'));
  assert.equal(await button(page, bob).count(), 0);
  assert.equal(await button(page, ada).count(), 1);
  await context.close();
});

test('the web client is told in a frame who signed out, and the browser goes on by itself', async () => {
  const { context, page } = await both({ javaScriptEnabled: false });
  told.length = 0;
  const faults = [];
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  const back = new URLSearchParams({ client_id: web.app_id, post_logout_redirect_uri: REDIRECT, state: 'left' });
  await page.goto(`${authority}/oauth2/v2.0/logout?${back}`);
  await picture('sign-out-several', page);
  await moved(page, () => button(page, ada).click());
  await picture('signed-out', page);
  await page.waitForURL((url) => url.href.startsWith(REDIRECT));
  assert.equal(new URL(page.url()).searchParams.get('state'), 'left');
  assert.equal(told.length, 1, 'one account, one client');
  assert.equal(told[0].searchParams.get('iss'), `${authority}/v2.0`);
  assert.match(told[0].searchParams.get('sid'), /^[0-9a-f-]{36}$/);
  assert.deepEqual(faults, [], 'the policy lets the frame be');
  const silent = await context.newPage();
  await silent.goto(authorizeUrl({ ...plain, prompt: 'none' }));
  assert.ok(new URL(silent.url()).searchParams.get('code'), 'only one is left');
  await context.close();
});

test('the pages about accounts fit a small screen, in the dark too', async () => {
  const { context, page } = await both({ viewport: { width: 360, height: 640 }, colorScheme: 'dark' });
  for (const [name, url] of [
    ['accounts-small', authorizeUrl({ ...plain, prompt: 'select_account' })],
    ['sign-out-several-small', `${authority}/oauth2/v2.0/logout`],
  ]) {
    await page.goto(url);
    await picture(name, page);
    const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= seen, `${name} is ${wide} wide on a screen of ${seen}`);
  }
  await context.close();
});
