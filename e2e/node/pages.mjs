// The pages that people see, in a real browser; each is kept as a picture.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { randomBytes, createHash } from 'node:crypto';
import { test } from './runner.mjs';
import { profile, screenshots, signIn } from './browser.mjs';
import { ada, authority, BILLING_READ, ORDERS_SCOPE, REDIRECT, web } from './world.mjs';

const picture = (name, page) => page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });

export function authorizeUrl(more = {}) {
  const challenge = createHash('sha256').update(randomBytes(32).toString('hex')).digest('base64url');
  return `${authority}/oauth2/v2.0/authorize?${new URLSearchParams({
    client_id: web.app_id,
    response_type: 'code',
    redirect_uri: REDIRECT,
    scope: `openid profile ${ORDERS_SCOPE}`,
    state: 'a state of the client',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    ...more,
  })}`;
}

test('ada signs in and consents in a real browser', async () => {
  const seen = [];
  const see = async (name, page) => {
    seen.push(name);
    await picture(name, page);
    assert.equal(await page.locator('html[lang]').count(), 1, 'the page names its language');
    assert.ok(await page.title(), 'the page has a title');
    for (const field of await page.locator('input:not([type=hidden])').all()) {
      const id = await field.getAttribute('id');
      const labels = id ? await page.locator(`label[for="${id}"]`).count() : 0;
      assert.ok(labels || (await field.getAttribute('aria-label')) || (await field.locator('xpath=ancestor::label').count()));
    }
  };
  const url = authorizeUrl({ scope: `openid ${BILLING_READ}`, prompt: 'consent' });
  const back = await signIn(url, ada, { see });
  assert.deepEqual(seen, ['sign-in', 'consent']);
  assert.equal(back.searchParams.get('state'), 'a state of the client');
  assert.ok(back.searchParams.get('code'));
});

test('the consent page names the client and what it asks for', async () => {
  let text = '';
  const see = async (name, page) => {
    if (name === 'consent') text = await page.innerText('body');
  };
  await signIn(authorizeUrl({ scope: BILLING_READ, prompt: 'consent' }), ada, { see });
  assert.ok(text.length > 0 && /invoice|Invoices\.Read/i.test(text), text);
});

test('a user who cancels sends the client home with access_denied', async () => {
  const back = await signIn(authorizeUrl({ prompt: 'consent' }), ada, { answer: 'cancel' });
  assert.equal(back.searchParams.get('error'), 'access_denied');
  assert.ok(back.searchParams.get('error_description').startsWith('AADSTS65004'));
  assert.equal(back.searchParams.get('state'), 'a state of the client');
});

test('the pages work with JavaScript turned off', async () => {
  const context = await profile({ javaScriptEnabled: false });
  const back = await signIn(authorizeUrl(), ada, { context });
  assert.ok(back.searchParams.get('code'));
  await context.close();
});

test('prompt=none without a session is login_required', async () => {
  const back = await signIn(authorizeUrl({ prompt: 'none' }), ada);
  assert.equal(back.searchParams.get('error'), 'login_required');
});

test('an error page says what to change and leads nowhere else', async () => {
  const context = await profile();
  const page = await context.newPage();
  const response = await page.goto(authorizeUrl({ redirect_uri: 'https://attacker.example/callback' }));
  await picture('error', page);
  assert.equal(response.status(), 400);
  assert.match(await page.innerText('body'), /AADSTS50011/);
  assert.equal(await page.locator('a[href*="attacker.example"]').count(), 0);
  await context.close();
});

test('the pages may not be framed, cached or sniffed', async () => {
  const context = await profile();
  const page = await context.newPage();
  const headers = (await page.goto(authorizeUrl())).headers();
  assert.match(headers['content-security-policy'], /frame-ancestors 'none'/);
  assert.match(headers['content-security-policy'], /default-src 'none'|default-src 'self'/);
  assert.doesNotMatch(headers['content-security-policy'], /unsafe-eval|script-src[^;]*unsafe-inline/);
  assert.match(headers['cache-control'], /no-store/);
  assert.equal(headers['x-content-type-options'], 'nosniff');
  for (const cookie of await context.cookies()) {
    assert.ok(cookie.httpOnly && cookie.secure && cookie.sameSite !== 'None', `cookie ${cookie.name}`);
  }
  await context.close();
});

test('a small screen shows the whole form', async () => {
  const context = await profile({ viewport: { width: 360, height: 640 } });
  const page = await context.newPage();
  await page.goto(authorizeUrl());
  await picture('sign-in-small', page);
  const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= seen, `the page is ${wide} wide on a screen of ${seen}`);
  await context.close();
});
