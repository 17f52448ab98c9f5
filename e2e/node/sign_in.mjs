// Sign-in at the edge in a real browser: an application that knows nothing of sign-in, the gateway before it, and our authority's
// own pages. Kept as pictures.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { Device, look, profile, walk } from './browser.mjs';
import { test } from './runner.mjs';

const BINARY = process.env.DEPUTIZE_BINARY ?? 'target/release/deputize';
const EDGE = '11111111-2222-4333-8444-666666666666';
const ADA = { upn: 'ada@contoso.example', password: 'an ordinary long password' };

const estate = (site) => `
[[tenants]]
displayName = "Contoso"
domains = ["contoso.example"]

[[tenants.applications]]
displayName = "Shop"
appId = "${EDGE}"
identifierUris = ["api://shop"]
web.redirectUris = ["${site}/.auth/login/aad/callback", "${site}/.auth/logout/done"]
passwordCredentials = [{ displayName = "edge", secret = { file = "secret" } }]
api.requestedAccessTokenVersion = 2
[[tenants.applications.api.oauth2PermissionScopes]]
value = "access_as_user"
type = "User"
userConsentDisplayName = "See your orders"
[[tenants.applications.requiredResourceAccess]]
resourceAppId = "api://shop"
resourceAccess = [{ id = "access_as_user", type = "Scope" }]

[[tenants.applications]]
displayName = "Vault"
identifierUris = ["api://vault"]
[[tenants.applications.api.oauth2PermissionScopes]]
value = "Open"
type = "User"

[[tenants.oauth2PermissionGrants]]
clientId = "Shop"
resourceId = "Vault"
scope = "Open"
consentType = "AllPrincipals"

[[tenants.conditionalAccessPolicies]]
displayName = "Vault needs a second factor"
conditions.applications.includeApplications = ["api://vault"]
grantControls.builtInControls = ["mfa"]

[[tenants.users]]
userPrincipalName = "${ADA.upn}"
displayName = "Ada Lovelace"
password = { file = "password" }
`;

const configuration = ({ port, site, authority, service }) => `
listen = "localhost:${port}"
trusted_certificates = "data/ca.pem"
access_log = false
[[certificate]]
certificate = "data/localhost.pem"
key = "data/localhost.key"

[[issuer]]
name = "contoso"
issuer = "${authority.issuer}"
tenants = ["${authority.tenant}"]

[[authority]]
name = "contoso"
metadata = "${authority.issuer}/.well-known/openid-configuration"
client_id = "${EDGE}"
secret = { file = "secret" }

[sign_in]
origins = ["${site}"]
keys = [{ file = "sign-in.key" }]
[[sign_in.provider]]
name = "aad"
authority = "contoso"
scopes = ["offline_access", "${EDGE}/.default"]

[[upstream]]
name = "shop"
url = "${service}"

[[api]]
name = "shop"
path = "/"
upstream = "shop"
[api.policies.sign_in]
[[api.operation]]
name = "all"
method = "*"
path = "/*"
[[api.operation]]
name = "vault"
method = "GET"
path = "/vault"
[api.operation.policies.validate_jwt]
issuers = ["contoso"]
audiences = ["${EDGE}"]
[api.operation.policies.require]
scopes = ["access_as_user"]
[api.operation.onward.on_behalf_of]
authority = "contoso"
target = "api://vault/Open"
`;

const free = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, 'localhost', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const listen = (server) => new Promise((up) => server.listen(0, 'localhost', () => up(server.address().port)));

const get = (url, ca) =>
  new Promise((resolve) => {
    https
      .get(url, { ca }, (answer) => {
        let body = '';
        answer.on('data', (part) => (body += part)).on('end', () => resolve({ status: answer.statusCode, body }));
      })
      .on('error', () => resolve({ status: 0 }));
  });

/** Answers with what it was sent. */
const echo = (request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers }));
};

/** A site with its gateway and its authority, for as long as the work takes. */
async function at(work) {
  const folder = mkdtempSync(join(tmpdir(), 'deputize-sign-in-'));
  const data = join(folder, 'data');
  const deputize = (...args) => execFileSync(BINARY, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const write = (name, content) => writeFileSync(join(folder, name), content, { mode: 0o600 });
  const [port, authorityPort] = [await free(), await free()];
  const [site, host] = [`https://localhost:${port}`, `https://localhost:${authorityPort}`];
  write('estate.toml', estate(site));
  write('password', ADA.password);
  write('secret', randomBytes(32).toString('base64url'));
  write('sign-in.key', randomBytes(32).toString('base64'));
  deputize('apply', join(folder, 'estate.toml'), '--data', data);
  deputize('dev-ca', '--dir', data);
  const ca = readFileSync(join(data, 'ca.pem'));
  const service = http.createServer(echo);
  // Of the same host as the site, and another origin: what browsers call same-site.
  const [cert, key] = ['localhost.pem', 'localhost.key'].map((name) => readFileSync(join(data, name)));
  const sibling = https.createServer({ cert, key }, (_, response) => {
    response.setHeader('content-type', 'text/html');
    response.end(`<form method="post" action="${site}/orders"><button>Buy</button></form>`);
  });
  const running = [spawn(BINARY, ['authority', '--data', data, '--listen', `localhost:${authorityPort}`], { stdio: 'ignore' })];
  const up = async (url, wanted) => {
    for (;;) {
      const answer = await get(url, ca);
      if (answer.status === wanted) return answer;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  try {
    const metadata = `${host}/contoso.example/v2.0/.well-known/openid-configuration`;
    const { issuer } = JSON.parse((await up(metadata, 200)).body);
    const authority = { issuer, tenant: new URL(issuer).pathname.split('/')[1] };
    const there = { port, site, authority, service: `http://localhost:${await listen(service)}` };
    write('gateway.toml', configuration(there));
    deputize('gateway', 'check', join(folder, 'gateway.toml'));
    running.push(spawn(BINARY, ['gateway', join(folder, 'gateway.toml')], { stdio: ['ignore', 'ignore', 'inherit'], env: { RUST_LOG: 'warn' } }));
    await up(`${site}/.auth/me`, 401);
    await work({ site, host, sibling: `https://localhost:${await listen(sibling)}` });
  } finally {
    running.forEach((child) => child.kill());
    service.close();
    sibling.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const seenBy = async (page) => JSON.parse(await page.innerText('body'));
const principal = ({ headers }) => JSON.parse(Buffer.from(headers['x-ms-client-principal'], 'base64'));

test('a person signs in at the edge, steps up and signs out, in a browser', () =>
  at(async ({ site, host, sibling }) => {
    // What is looked at here are pages and cookies, not certificates.
    const context = await profile({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    const faults = [];
    context.on('console', (message) => {
      if (/Content Security Policy|Refused to/.test(message.text())) faults.push(message.text());
    });
    const came = (path) => (url) => url.startsWith(`${site}${path}`);

    // Who does not agree to what is asked is not signed in, and can try again.
    await page.goto(`${site}/orders/7?lines=all`);
    assert.ok(page.url().startsWith(`${host}/`), page.url());
    await walk(page, ADA, came('/.auth/login/aad/callback'), { answer: 'cancel', see: (name) => look(`edge-${name}`, page) });
    assert.match(await page.innerText('h1'), /could not be signed in/);
    await look('edge-refused', page);
    await Promise.all([page.waitForNavigation(), page.locator('a').click()]);
    await walk(page, ADA, came('/orders'), {});
    assert.equal(page.url(), `${site}/orders/7?lines=all`);
    await look('edge-signed-in', page);
    const seen = await seenBy(page);
    const { headers } = seen;
    // The authority is on this host too, so that its cookies come along.
    assert.doesNotMatch(headers.cookie ?? '', /AppService|deputize-edge/, 'the service sees no session');
    assert.equal(headers.authorization, undefined);
    assert.equal(headers['x-ms-client-principal-name'], ADA.upn);
    assert.equal(headers['x-ms-client-principal-idp'], 'aad');
    assert.ok(principal(seen).claims.some(({ typ, val }) => typ === 'name' && val === 'Ada Lovelace'), JSON.stringify(principal(seen)));
    for (const cookie of await context.cookies(site)) {
      if (!/AppServiceAuthSession|deputize-edge/.test(cookie.name)) continue;
      assert.deepEqual([cookie.secure, cookie.httpOnly, cookie.sameSite, cookie.path], [true, true, 'Lax', '/'], cookie.name);
    }
    assert.ok((await context.cookies(site)).some(({ name }) => name === '__Host-deputize-edge-session'));

    // A page of the site finds out who it is, and may change something; one of a sibling may not, whatever the browser sends along.
    const me = await page.evaluate(async () => (await fetch('/.auth/me')).json());
    assert.deepEqual([me.length, me[0].provider_name, me[0].user_id], [1, 'aad', ADA.upn]);
    assert.equal(await page.evaluate(async () => (await fetch('/orders', { method: 'POST' })).status), 200);
    assert.equal(await page.evaluate(async () => (await fetch('/.auth/refresh')).status), 200);
    const after = await page.evaluate(async () => (await fetch('/.auth/me')).json());
    assert.notEqual(after[0].access_token, me[0].access_token, 'newer tokens');
    const other = await context.newPage();
    await other.goto(sibling);
    const [answer] = await Promise.all([other.waitForNavigation(), other.locator('button').click()]);
    assert.equal(answer.status(), 403);
    assert.equal(JSON.parse(await other.innerText('body')).check, 'sign_in.same_site');
    await other.close();

    // The vault's authority wants more of her: she shows it, and comes back.
    const device = new Device();
    const steps = [];
    const see = (name) => steps.push(name) && look(`edge-${name}`, page);
    await page.goto(`${site}/vault`);
    await walk(page, ADA, came('/vault'), { device, see });
    assert.deepEqual(steps, ['enrol', 'recovery-codes'], 'the password is not asked again');
    const vault = decodeJwt((await seenBy(page)).headers.authorization.split(' ')[1]);
    assert.equal(vault.scp, 'Open');

    // Signed out, she is so here and at the authority.
    await page.goto(`${site}/.auth/logout`);
    assert.equal(page.url(), `${site}/.auth/logout/done`);
    assert.match(await page.innerText('h1'), /You are signed out/);
    await look('edge-signed-out', page);
    assert.deepEqual((await context.cookies(site)).filter(({ name }) => /AppService|deputize-edge/.test(name)), []);
    await page.goto(`${site}/orders`);
    assert.ok(page.url().startsWith(`${host}/`), page.url());
    assert.equal(await page.locator('input[name=password]').count(), 1, 'and asked for her password');
    assert.deepEqual(faults, []);
    await context.close();
  }));
