// The step-up round trip in a real browser: Billing wants the authentication context c1, Orders hands the challenge back,
// the client sends the person to show a second factor, and the chain succeeds. The pages on the way are kept as pictures.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from './runner.mjs';
import { Device, profile, screenshots } from './browser.mjs';
import { codeFlow, discovered } from './openid.mjs';
import { bob, orders, ORDERS_SCOPE, web } from './world.mjs';

const device = new Device();
const SCOPE = `openid ${ORDERS_SCOPE}`;

const call = (method, path, token) =>
  fetch(`${orders.url}${path}`, { method, headers: { authorization: `Bearer ${token}` } });

const picture = (name, page) => page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });

test('billing demands c1, ada shows a second factor in the browser, and the chain succeeds', async () => {
  const context = await profile();
  const config = await discovered(web);
  const seen = [];
  const see = async (name, page) => {
    seen.push(name);
    await picture(name, page);
    const [wide, wanted] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= wanted, `${name} is ${wide} wide on a screen of ${wanted}`);
  };
  const how = { context, device, see };
  const weak = (await codeFlow(config, SCOPE, {}, how)).access_token;
  assert.deepEqual(seen.splice(0), ['sign-in']);
  const { invoices } = await (await call('GET', '/orders', weak)).json();
  const pay = `/orders/${invoices.invoices[0].id}/pay`;

  const refused = await call('POST', pay, weak);
  assert.equal(refused.status, 401);
  const challenges = refused.headers.get('www-authenticate');
  assert.match(challenges, /error="insufficient_user_authentication"[^]*acr_values="c1"/);
  const encoded = challenges.match(/error="insufficient_claims", claims="([A-Za-z0-9+/=]+)"/)[1];
  const claims = Buffer.from(encoded, 'base64').toString();
  assert.deepEqual(JSON.parse(claims), { access_token: { acrs: { essential: true, value: 'c1' } } });

  const strong = (await codeFlow(config, SCOPE, { claims }, { ...how, mistakes: 1 })).access_token;
  assert.deepEqual(seen.splice(0), ['enrol', 'enrol-wrong', 'recovery-codes'], 'the password is not asked again');
  const paid = await call('POST', pay, strong);
  assert.equal(paid.status, 200);
  assert.deepEqual((await paid.json()).claims.acrs, ['c1']);
  assert.equal((await call('POST', pay, weak)).status, 401, 'the older token is worth what it was');
  await context.close();
});

test('another browser is asked for a code, and a client of RFC 9470 gets the same by acr_values', async () => {
  const context = await profile({ javaScriptEnabled: false });
  const seen = [];
  const see = async (name, page) => {
    seen.push(name);
    await picture(name, page);
  };
  const tokens = await codeFlow(await discovered(web), SCOPE, { acr_values: 'c1' }, { context, device, see, mistakes: 1 });
  assert.deepEqual(seen, ['sign-in', 'code', 'code-wrong']);
  const { invoices } = await (await call('GET', '/orders', tokens.access_token)).json();
  assert.equal((await call('POST', `/orders/${invoices.invoices[0].id}/pay`, tokens.access_token)).status, 200);
  await context.close();
});

test('the pages about the second factor fit a small screen, in the dark too', async () => {
  const context = await profile({ viewport: { width: 360, height: 640 }, colorScheme: 'dark' });
  const see = async (name, page) => {
    await picture(`${name}-small`, page);
    const [wide, wanted] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= wanted, `${name} is ${wide} wide on a screen of ${wanted}`);
  };
  await codeFlow(await discovered(web), SCOPE, { acr_values: 'c1' }, { context, device: new Device(), user: bob, see });
  await context.close();
});
