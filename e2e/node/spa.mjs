// A single-page application: unmodified @azure/msal-browser in a real browser, on pages of a registered origin, and what
// pages of any other origin get.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { once, test } from './runner.mjs';
import { Device, profile, walk } from './browser.mjs';
import { ada, authority, bob, billing, BILLING_READ, grace, host, orders, ORDERS_SCOPE, spa, tenant } from './world.mjs';

const PAGE = spa.redirect_uris[0];
const ELSEWHERE = 'http://localhost:8402/';

const here = (...parts) => join(import.meta.dirname, ...parts);
const library = (name) => readFileSync(here('node_modules/@azure/msal-browser/lib', name));
const files = {
  '/': ['text/html', readFileSync(here('spa/index.html'))],
  '/redirect': ['text/html', readFileSync(here('spa/redirect.html'))],
  '/app.js': ['text/javascript', readFileSync(here('spa/app.js'))],
  '/msal-browser.min.js': ['text/javascript', library('msal-browser.min.js')],
  '/msal-redirect-bridge.min.js': ['text/javascript', library('redirect-bridge/msal-redirect-bridge.min.js')],
  '/config.json': [
    'application/json',
    JSON.stringify({
      client_id: spa.app_id, authority, orders_url: orders.url, orders_scope: ORDERS_SCOPE, billing_scope: BILLING_READ,
    }),
  ],
};

const serve = (url) =>
  new Promise((resolve, reject) => {
    const server = createServer((request, response) => {
      const [type, body] = files[new URL(request.url, url).pathname] ?? [];
      response.writeHead(body ? 200 : 404, { 'content-type': type ?? 'text/plain' }).end(body ?? 'nothing here');
    });
    server.once('error', reject);
    server.listen(Number(new URL(url).port), 'localhost', () => resolve(server.unref()));
  });

const served = once(() => Promise.all([PAGE, ELSEWHERE].map(serve)));

const home = (url) => url === PAGE || url.startsWith(`${PAGE}#`);

/** The application, in a browser of its own. */
async function application(work, at = PAGE) {
  await served();
  const context = await profile();
  const page = await context.newPage();
  const answer = async () => {
    await page.waitForFunction(() => document.body?.dataset.ready && document.querySelector('#answer').textContent);
    return JSON.parse(await page.innerText('#answer'));
  };
  const press = async (id) => {
    await page.click(`#${id}`);
    return answer();
  };
  /** Presses what leads to the authority, and walks back. */
  const leave = async (id, user, how) => {
    await Promise.all([page.waitForURL((url) => url.href.startsWith(host)), page.click(`#${id}`)]);
    await walk(page, user, home, how);
    return answer();
  };
  try {
    await page.goto(at);
    await answer();
    await work({ context, page, answer, press, leave });
  } finally {
    await context.close();
  }
}

test('msal-browser signs ada in by redirect, calls orders, which calls billing for her, and signs her out', () =>
  application(async ({ page, answer, press, leave }) => {
    const seen = [];
    const arrived = await leave('redirect', ada, { see: (name) => seen.push(name) });
    assert.deepEqual(seen, ['sign-in', 'consent']);
    assert.deepEqual([arrived.user, arrived.home, arrived.nonce], [ada.upn, `${ada.oid}.${tenant.id}`, true]);
    assert.deepEqual([arrived.claims.aud, arrived.claims.azp, arrived.claims.azpacr], [orders.app_id, spa.app_id, '0']);
    const { status, body } = await press('orders');
    assert.equal(status, 200);
    assert.equal(body.invoices.claims.oid, ada.oid, 'billing saw ada');
    assert.equal(body.invoices.claims.azp, orders.app_id, 'through orders');
    const visited = [];
    page.on('request', (request) => request.isNavigationRequest() && visited.push(request.url()));
    await Promise.all([page.waitForURL(PAGE, { waitUntil: 'load' }), page.waitForEvent('framenavigated'), page.click('#out')]);
    assert.ok(visited[0].startsWith(`${authority}/oauth2/v2.0/logout?`), visited[0]);
    assert.equal((await answer()).user, null);
    const back = [];
    await leave('redirect', ada, { see: (name) => back.push(name) });
    assert.deepEqual(back, ['sign-in'], 'the session is over, the consent is not');
  }));

test('msal-browser keeps its tokens, renews them, and gets one for another resource without asking', () =>
  application(async ({ page, press, leave }) => {
    await leave('redirect', ada);
    const requests = [];
    page.on('request', (request) => request.url().includes('/token') && requests.push(new URLSearchParams(request.postData())));
    assert.equal((await press('orders')).status, 200);
    assert.equal(requests.length, 0, 'the token was kept');
    const renewed = await press('renew');
    assert.deepEqual([renewed.claims.aud, renewed.claims.oid, renewed.fromCache], [orders.app_id, ada.oid, false]);
    const other = await press('invoices');
    assert.deepEqual([other.claims.aud, other.claims.oid, other.claims.scp], [billing.app_id, ada.oid, 'Invoices.Read']);
    assert.deepEqual(requests.map((form) => form.get('grant_type')), ['refresh_token', 'refresh_token']);
    assert.equal((await press('invoices')).fromCache, true);
  }));

test('msal-browser signs bob in in a window of its own', () =>
  application(async ({ page, answer }) => {
    const [popup] = await Promise.all([page.waitForEvent('popup'), page.click('#popup')]);
    await popup.waitForURL((url) => url.href.startsWith(host));
    await walk(popup, bob, (url) => url.startsWith(PAGE));
    const arrived = await answer();
    assert.deepEqual([arrived.user, arrived.claims.aud], [bob.upn, orders.app_id]);
  }));

test('msal-browser sends grace back with the claims that billing wants, and the payment succeeds', () =>
  application(async ({ leave }) => {
    await leave('redirect', grace);
    const seen = [];
    const paid = await leave('pay', grace, { device: new Device(), see: (name) => seen.push(name) });
    assert.deepEqual(seen, ['enrol', 'recovery-codes'], 'the password is not asked again');
    assert.equal(paid.status, 200, JSON.stringify(paid));
    assert.deepEqual(paid.body.claims.acrs, ['c1']);
  }));

test('a page of another origin gets no token, neither by a sign-in nor with a stolen refresh token', () =>
  application(async ({ context, page, leave }) => {
    await leave('redirect', ada);
    const stolen = await page.evaluate(() => {
      const tokens = Object.entries(sessionStorage).filter(([key]) => key.includes('refreshtoken'));
      return JSON.parse(tokens[0][1]).secret;
    });
    const redeem = ([token, client_id, refresh_token, scope]) =>
      fetch(token, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'refresh_token', client_id, refresh_token, scope }),
      }).then(
        (answer) => answer.status,
        (error) => error.name,
      );
    const request = [`${authority}/oauth2/v2.0/token`, spa.app_id, stolen, ORDERS_SCOPE];
    const other = await context.newPage();
    await other.goto(ELSEWHERE);
    assert.equal(await other.evaluate(redeem, request), 'TypeError', 'the browser keeps the answer from the page');
    const call = ([url]) => fetch(url, { headers: { authorization: 'Bearer x' } }).then(({ status }) => status, ({ name }) => name);
    assert.equal(await other.evaluate(call, [`${orders.url}/orders`]), 'TypeError', 'orders is for pages it knows');
    assert.equal(await page.evaluate(call, [`${orders.url}/orders`]), 401);
    assert.equal(await page.evaluate(redeem, request), 200, 'it was the origin');
    await Promise.all([other.waitForURL((url) => url.href.startsWith(host)), other.click('#redirect')]);
    assert.match(await other.innerText('body'), /AADSTS50011/);
  }));
