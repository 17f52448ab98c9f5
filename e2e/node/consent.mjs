// Consent in a real browser: one dialog for three parties, at home and in another organization; what is asked bit by bit, what
// only an administrator may allow, and what is taken back. The client is @azure/msal-node; every page is kept as a picture.

import assert from 'node:assert/strict';
import { ConfidentialClientApplication } from '@azure/msal-node';
import { decodeJwt } from 'jose';
import { once, test } from './runner.mjs';
import { look, profile, signIn, walk } from './browser.mjs';
import { ada, authority, bob, fabrikam, fares, grace, host, tenant, TRAVEL, travel, trips } from './world.mjs';

const at = (app, segment) =>
  new ConfidentialClientApplication({
    auth: {
      clientId: app.app_id,
      clientSecret: app.client_secret,
      authority: `${host}/${segment}`,
      knownAuthorities: [new URL(host).host],
    },
  });

const scope = (value) => `${trips.identifier_uri}/${value}`;
const FARES = `${fares.identifier_uri}/Fares.Read`;

/** Signs in to Travel; answers with the tokens, and the text of each page about consent on the way. */
async function travelling(user, scopes, { segment = tenant.id, as = 'consent', ...how } = {}) {
  const client = at(travel, segment);
  const dialogs = [];
  const see = async (name, page) => {
    if (name !== 'consent') return;
    dialogs.push(await page.innerText('main'));
    await look(as, page);
  };
  const url = await client.getAuthCodeUrl({ scopes, redirectUri: TRAVEL });
  const back = await signIn(url, user, { back: TRAVEL, see, ...how });
  assert.ok(back.searchParams.get('code'), back.search);
  const answer = await client.acquireTokenByCode({ scopes, redirectUri: TRAVEL, code: back.searchParams.get('code') });
  return { answer, client, dialogs, claims: decodeJwt(answer.accessToken) };
}

const onBehalfOf = async ({ accessToken }, segment = tenant.id) =>
  decodeJwt((await at(trips, segment).acquireTokenOnBehalfOf({ oboAssertion: accessToken, scopes: [FARES] })).accessToken);

const refused = (code) => (error) => {
  assert.match(error.message, new RegExp(`AADSTS${code}: `));
  return true;
};

/** Opens an address of the authority as this person and walks until the page says so. */
async function open(user, url, said, how) {
  const context = await profile();
  const page = await context.newPage();
  await page.goto(url);
  await walk(page, user, async () => (await page.getByRole('heading', { name: said }).count()) > 0, how);
  return { page, close: () => context.close() };
}

const alone = once(() => travelling(ada, [scope('Trips.Read')], { as: 'consent-one' }));

test('consent to the client alone leaves its API without: the exchange is refused and says where consent is given', async () => {
  const { answer, dialogs, claims } = await alone();
  assert.equal(dialogs.length, 1);
  assert.match(dialogs[0], /At Trips, on your behalf, it may:\s+See your trips/);
  assert.doesNotMatch(dialogs[0], /Fares/);
  assert.deepEqual([claims.scp, claims.azp], ['Trips.Read', travel.app_id]);
  await assert.rejects(onBehalfOf(answer), refused(65001));
});

test('one dialog asks for the client and the API that knows it, and the chain succeeds', async () => {
  await alone();
  const { answer, dialogs } = await travelling(ada, [scope('.default')], { as: 'consent-combined' });
  assert.equal(dialogs.length, 1);
  assert.match(dialogs[0], /At Fares, on your behalf, Trips may:\s+See what your trips cost/);
  const claims = await onBehalfOf(answer);
  assert.deepEqual([claims.oid, claims.azp, claims.aud, claims.scp], [ada.oid, trips.app_id, fares.app_id, 'Fares.Read']);
  assert.deepEqual((await travelling(ada, [scope('.default')])).dialogs, [], 'it is asked once');
});

test('in another organization one dialog brings in all three, and says whose they are', async () => {
  const { erin } = fabrikam.users;
  const absent = at(trips, fabrikam.id).acquireTokenByClientCredential({ scopes: [`${fares.identifier_uri}/.default`] });
  await assert.rejects(absent, refused(700016));
  const { answer, dialogs, claims } = await travelling(erin, [scope('.default')], {
    segment: 'organizations',
    as: 'consent-three-parties',
  });
  assert.equal(dialogs.length, 1);
  for (const said of [
    /Unverified\. Travel belongs to another organization, which calls itself Contoso \(contoso\.example\)/,
    /At Trips, on your behalf, it may:\s+See your trips/,
    /At Fares, on your behalf, Trips may:\s+See what your trips cost/,
    /Added to Fabrikam: Travel, Trips, Fares\./,
  ]) {
    assert.match(dialogs[0], said);
  }
  assert.deepEqual([claims.tid, claims.oid], [fabrikam.id, erin.oid]);
  const downstream = await onBehalfOf(answer, fabrikam.id);
  assert.deepEqual([downstream.tid, downstream.oid, downstream.azp], [fabrikam.id, erin.oid, trips.app_id]);
  assert.equal(downstream.iss, `${host}/${fabrikam.id}/v2.0`);
  await assert.rejects(onBehalfOf(answer, tenant.id), /AADSTS50013: /, 'worth nothing at home');
});

test('permissions are asked for as they are needed, and only those that are new', async () => {
  const first = await travelling(bob, [scope('Trips.Read')]);
  assert.match(first.dialogs.join(), /See your trips/);
  const second = await travelling(bob, [scope('Trips.Read'), scope('Trips.Book')], { as: 'consent-incremental' });
  assert.equal(second.dialogs.length, 1);
  assert.match(second.dialogs[0], /Book trips for you/);
  assert.doesNotMatch(second.dialogs[0], /See your trips/);
  assert.deepEqual(second.claims.scp.split(' ').sort(), ['Trips.Book', 'Trips.Read']);
  assert.deepEqual((await travelling(bob, [scope('Trips.Read'), scope('Trips.Book')])).dialogs, []);
});

test('what only an administrator may allow can be asked of one, with a reason, and is there once approved', async () => {
  const url = await at(travel, tenant.id).getAuthCodeUrl({ scopes: [scope('Trips.Approve')], redirectUri: TRAVEL });
  const back = await signIn(url, ada, { back: TRAVEL, answer: 'cancel', see: (name, page) => name === 'ask-admin' && look(name, page) });
  assert.equal(back.searchParams.get('error'), 'access_denied');
  const asked = await open(ada, url, 'Your request was sent', { answer: 'ask' });
  await look('asked', asked.page);
  assert.ok((await asked.page.getByRole('link').getAttribute('href')).startsWith(TRAVEL));
  await asked.close();

  const requests = `${authority}/consent-requests`;
  const stranger = await open(ada, requests, 'This request was refused');
  assert.match(await stranger.page.innerText('main'), /administrator/);
  await stranger.close();
  const { page, close } = await open(grace, requests, 'Requests for consent');
  const text = await page.innerText('main');
  for (const said of ['Ada Lovelace asks for Travel', 'I plan the trips of my department.', 'Approve trips\n']) {
    assert.ok(text.includes(said), `${said}: ${text}`);
  }
  await look('approvals', page);
  await Promise.all([page.waitForNavigation(), page.getByRole('button', { name: 'Allow for everyone' }).click()]);
  assert.match(await page.innerText('main'), /Nothing waits for you/);
  await look('approvals-none', page);
  await close();
  const { dialogs, claims } = await travelling(ada, [scope('Trips.Approve')]);
  assert.deepEqual(dialogs, []);
  assert.ok(claims.scp.split(' ').includes('Trips.Approve'), claims.scp);
});

test('where an organization takes no requests, the page says where an administrator allows it', async () => {
  const { erin, frank } = fabrikam.users;
  const url = await at(travel, fabrikam.id).getAuthCodeUrl({ scopes: [scope('.default')], redirectUri: TRAVEL });
  await signIn(url, erin, { back: TRAVEL });
  const approve = await at(travel, fabrikam.id).getAuthCodeUrl({ scopes: [scope('Trips.Approve')], redirectUri: TRAVEL });
  const needs = await open(erin, approve, 'This request was refused');
  await look('needs-admin', needs.page);
  assert.match(await needs.page.innerText('main'), /an administrator's consent for Travel to Trips\.Approve of Trips/);
  const address = (await needs.page.innerText('main')).match(/https:\S+\/adminconsent\?\S+/)[0];
  await needs.close();
  const allowing = await open(frank, address, 'Done');
  await look('admin-consented', allowing.page);
  await allowing.close();
  const { claims } = await travelling(erin, [scope('Trips.Approve')], { segment: fabrikam.id });
  assert.ok(claims.scp.split(' ').includes('Trips.Approve'), claims.scp);
});

const adminConsent = (segment, version, more) =>
  `${host}/${segment}/${version}adminconsent?${new URLSearchParams({
    client_id: travel.app_id, redirect_uri: TRAVEL, state: 'a state', ...more,
  })}`;

test('an administrator allows what a request names, for everyone, and nobody is asked any more', async () => {
  const { erin } = fabrikam.users;
  const url = adminConsent(fabrikam.id, 'v2.0/', { scope: scope('Trips.Book') });
  const declined = await signIn(url, fabrikam.users.frank, { back: TRAVEL, answer: 'cancel' });
  assert.equal(declined.searchParams.get('error'), 'consent_required');
  const see = (name, page) => name === 'consent' && look('admin-consent-v2', page);
  const back = await signIn(url, fabrikam.users.frank, { back: TRAVEL, see });
  const answer = Object.fromEntries(back.searchParams);
  assert.deepEqual(answer, { admin_consent: 'True', tenant: fabrikam.id, scope: scope('Trips.Book'), state: 'a state' });
  assert.deepEqual((await travelling(erin, [scope('Trips.Book')], { segment: fabrikam.id })).dialogs, []);
});

/** Grace allows Travel for everyone at home, all that it registered. */
const allowed = once(async () => {
  let text = '';
  const see = async (name, page) => {
    if (name !== 'consent') return;
    text = await page.innerText('main');
    await look('admin-consent', page);
  };
  const back = await signIn(adminConsent(tenant.id, ''), grace, { back: TRAVEL, see });
  return { text, answer: Object.fromEntries(back.searchParams) };
});

test('an administrator allows all that is registered in the older form, and nobody else can', async () => {
  const stranger = await open(bob, adminConsent(tenant.id, ''), 'This request was refused');
  assert.match(await stranger.page.innerText('main'), /Expected an administrator of Contoso/);
  await look('admin-consent-refused', stranger.page);
  await stranger.close();
  const { text, answer } = await allowed();
  assert.match(text, /Allow Travel for your whole organization\?[^]*At Trips, on anyone's behalf, it may:\s+See your trips/);
  assert.deepEqual(answer, { admin_consent: 'True', tenant: tenant.id, state: 'a state' });
  assert.deepEqual((await travelling(grace, [scope('Trips.Read')])).dialogs, []);
});

test('users see who acts for them, and take back what they allowed', async () => {
  const { client, answer } = await travelling(bob, [scope('Trips.Book')]);
  await allowed();
  const { page, close } = await open(bob, `${authority}/consents`, 'Applications that act for you');
  await look('consents', page);
  assert.match(await page.innerText('main'), /Orders\s[^]*at Billing[^]*at Ledger[^]*at Payroll[^]*Reports\s/, 'by name');
  const card = page.locator('section', { has: page.getByRole('heading', { name: 'Travel' }) });
  assert.match(await card.innerText(), /You allowed it on \d{4}-\d\d-\d\d:[^]*Book trips for you[^]*Take it back[^]*An administrator allowed it for everyone:[^]*See your trips/);
  await Promise.all([page.waitForNavigation(), card.getByRole('button').click()]);
  assert.doesNotMatch(await page.innerText('main'), /Book trips for you/);
  await look('consents-after', page);
  await close();
  const silent = { account: answer.account, scopes: [scope('Trips.Book')], forceRefresh: true };
  await assert.rejects(client.acquireTokenSilent(silent), (error) => error.errorCode === 'invalid_grant');
  assert.equal((await travelling(bob, [scope('Trips.Book')])).dialogs.length, 1, 'it is asked again');
});
