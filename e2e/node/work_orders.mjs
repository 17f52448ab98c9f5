// Work orders in a real browser: the page on which people see what is done for them, and an order that waits until its user
// was there. Kept as pictures.

import assert from 'node:assert/strict';
import { test } from './runner.mjs';
import { look, profile, walk } from './browser.mjs';
import { codeFlow, discovered } from './openid.mjs';
import { ada, authority, BILLING_READ, daemon, orders, ORDERS_SCOPE, web } from './world.mjs';

const WORK_ORDER = 'urn:deputize:params:oauth:token-type:work-order';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const PAGE = /\/work-orders$/;

/** A token exchange (RFC 8693) of Orders'. */
async function exchange(parameters) {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    client_id: orders.app_id,
    client_secret: orders.client_secret,
    ...parameters,
  });
  const answer = await fetch(`${authority}/oauth2/v2.0/token`, { method: 'POST', body });
  return { status: answer.status, ...(await answer.json()) };
}

const redeem = (handle) => exchange({ subject_token: handle, subject_token_type: WORK_ORDER });

/** An order of the user whose token this is, which Orders' own worker redeems. */
async function order(token, purpose, more = {}) {
  const made = await exchange({
    requested_token_type: WORK_ORDER,
    subject_token: token,
    subject_token_type: ACCESS_TOKEN,
    scope: BILLING_READ,
    may_act: JSON.stringify({ sub: orders.app_id }),
    purpose,
    redemptions: '5',
    ...more,
  });
  assert.equal(made.status, 200, JSON.stringify(made));
  return made.access_token;
}

const pressed = (page, name) => Promise.all([page.waitForNavigation(), page.locator(`button[aria-label="${name}"]`).click()]);

test('ada sees the work that is done for her, lets go on what waits for her, and stops it', async () => {
  const context = await profile();
  const page = await context.newPage();
  const url = `${authority}/work-orders`;
  const signedIn = async () => {
    await page.goto(url);
    await walk(page, ada, async (at) => PAGE.test(at) && (await page.locator('input[name=password]').count()) === 0);
  };
  await signedIn();
  const stop = page.locator('button[aria-label^="Stop: "]');
  while (await stop.count()) await Promise.all([page.waitForNavigation(), stop.first().click()]);
  await look('work-orders-none', page);
  assert.match(await page.innerText('main'), /There is none/);

  const token = (await codeFlow(await discovered(web), `openid ${ORDERS_SCOPE}`, {}, { context })).access_token;
  const nightly = await order(token, 'Export your invoices, every night of this week', { requested_expiry: '604800' });
  await order(token, 'Send your invoices of November to your accountant', {
    may_act: JSON.stringify([{ sub: daemon.app_id }, { sub: orders.app_id }]),
    redemptions: '1',
  });
  assert.equal((await redeem(nightly)).status, 200);
  await page.goto(url);
  assert.match(await page.innerText('main'), /Runs so far: 1 of at most 5/);
  await look('work-orders', page);

  // She signs out everywhere: what stands behind her orders is gone.
  await page.goto(`${authority}/oauth2/v2.0/logout`);
  if (!/You are signed out/.test(await page.innerText('main')))
    await Promise.all([page.waitForNavigation(), page.locator('main button[type=submit]').first().click()]);
  const waits = await redeem(nightly);
  assert.deepEqual([waits.deputize_hint.check, waits.deputize_hint.state], ['session.alive', 'parked'], JSON.stringify(waits));
  assert.match(waits.deputize_hint.presenceUrl, PAGE);

  await signedIn();
  assert.equal(await page.locator('[role=status]').count(), 1, 'one of them waits');
  await look('work-orders-parked', page);
  await pressed(page, 'Let it go on: Export your invoices, every night of this week');
  await walk(page, ada, (at) => PAGE.test(at));
  assert.equal(await page.locator('[role=status]').count(), 0, 'none waits any more');
  assert.equal((await redeem(nightly)).status, 200);

  await pressed(page, 'Stop: Export your invoices, every night of this week');
  assert.doesNotMatch(await page.innerText('main'), /every night/);
  assert.equal((await redeem(nightly)).deputize_hint.check, 'work_order.not_revoked');
  await context.close();
});

test('the page of work orders fits a small screen in the dark', async () => {
  const context = await profile({ viewport: { width: 360, height: 640 }, colorScheme: 'dark', javaScriptEnabled: false });
  const token = (await codeFlow(await discovered(web), `openid ${ORDERS_SCOPE}`, {}, { context })).access_token;
  await order(token, 'Export');
  const page = await context.newPage();
  await page.goto(`${authority}/work-orders`);
  await walk(page, ada, async (at) => PAGE.test(at) && (await page.locator('button[aria-label^="Stop: "]').count()) > 0);
  await look('work-orders-dark', page);
  await context.close();
});
