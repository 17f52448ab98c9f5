// Every page with names that others chose badly, in a real browser: no dialog opens, no policy is violated, no page is wider
// than its screen (M-04, A-11). Kept as pictures, at two widths.
//
// The names stand in an estate of their own, at an authority of its own.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'node:https';
import { Device, profile, screenshots } from './browser.mjs';
import { test } from './runner.mjs';
import { REDIRECT } from './world.mjs';

const HOSTILE = `"><img src=x onerror=alert(1)><script>alert(2)</script>'\`{{7*7}}`;
const PASSWORD = 'an ordinary long password';
const BINARY = process.env.DEPUTIZE_BINARY ?? 'target/release/deputize';
const WEB = '11111111-2222-4333-8444-555555555555';

const text = (name) => JSON.stringify(`${name} ${HOSTILE}`);

const estate = `
[[tenants]]
displayName = ${text('Contoso')}
domains = ["contoso.example"]
settings.adminConsentRequests = true

[[tenants.applications]]
displayName = ${text('API')}
identifierUris = ["api://hostile"]
[[tenants.applications.api.oauth2PermissionScopes]]
value = "Read"
type = "User"
userConsentDisplayName = ${text('Read')}
userConsentDescription = ${text('Reading')}
[[tenants.applications.api.oauth2PermissionScopes]]
value = "Manage"
type = "Admin"
adminConsentDisplayName = ${text('Manage')}
adminConsentDescription = ${text('Managing')}
[[tenants.applications.api.oauth2PermissionScopes]]
value = "Pay"
type = "User"
userConsentDisplayName = ${text('Pay')}

[[tenants.applications]]
displayName = ${text('Client')}
appId = "${WEB}"
web.redirectUris = ["${REDIRECT}"]
web.logoutUrl = "http://localhost:8400/signed-out"
isFallbackPublicClient = true
passwordCredentials = [{ displayName = "one" }]
[[tenants.applications.requiredResourceAccess]]
resourceAppId = "api://hostile"
resourceAccess = [{ id = "Read", type = "Scope" }, { id = "Manage", type = "Scope" }, { id = "Pay", type = "Scope" }]

[[tenants.applications]]
displayName = ${text('Vault')}
identifierUris = ["api://vault"]
[[tenants.applications.api.oauth2PermissionScopes]]
value = "Open"
type = "User"

[[tenants.conditionalAccessPolicies]]
displayName = ${text('Vault needs a second factor')}
conditions.applications.includeApplications = ["api://vault"]
grantControls.builtInControls = ["mfa"]

[[tenants.users]]
userPrincipalName = "ada@contoso.example"
displayName = ${text('Ada')}
password = { file = "password" }
[[tenants.users]]
userPrincipalName = "carol@contoso.example"
displayName = ${text('Carol')}
password = { file = "password" }
isTenantAdmin = true
`;

test('hostile names open no dialog and violate no policy on any page', () => {
  return at((host) => walk(host, '', 'ada', {}));
});

test('nor on a small screen in the dark, which holds every page', () => {
  return at((host) => walk(host, '-small', 'carol', { viewport: { width: 360, height: 640 }, colorScheme: 'dark' }));
});

/** An authority with this estate, for as long as the work takes. */
async function at(work) {
  const folder = mkdtempSync(join(tmpdir(), 'deputize-pages-'));
  for (const [name, content] of [['estate.toml', estate], ['password', PASSWORD]]) writeFileSync(join(folder, name), content);
  const data = join(folder, 'data');
  const deputize = (...args) => execFileSync(BINARY, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  deputize('apply', join(folder, 'estate.toml'), '--data', data);
  deputize('dev-ca', '--dir', data);
  const port = await free();
  const host = `https://localhost:${port}`;
  const running = spawn(BINARY, ['authority', '--data', data, '--listen', `localhost:${port}`], { stdio: 'ignore' });
  try {
    await ready(host, readFileSync(join(data, 'ca.pem')));
    await work(host);
  } finally {
    running.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Goes over every page that a person can come to. */
async function walk(host, size, owner, options) {
  // The browser trusts the demo's authority; what is looked at here are pages, not certificates.
  const context = await profile({ ...options, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const faults = [];
  const seen = [];
  context.on('dialog', (dialog) => {
    faults.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  context.on('console', (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) faults.push(message.text());
  });
  context.on('weberror', (error) => faults.push(String(error.error())));
  const look = async (name, wanted) => {
    const content = await page.innerText('body');
    assert.match(content, wanted, `${name} at ${page.url()}: ${content}`);
    seen.push(name);
    await page.screenshot({ path: join(screenshots, `hostile-${name}${size}.png`), fullPage: true });
    const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (wide > screen) faults.push(`${name} is ${wide} wide on a screen of ${screen}`);
    assert.equal(await page.locator('main img, main script').count(), 0, name);
    const headings = await page.locator('h1').count();
    assert.equal(headings, 1, `${name} has one heading`);
    const unnamed = await page.locator('button, a[href], input:not([type=hidden]), textarea').evaluateAll((all) =>
      all.filter((it) => !(it.textContent.trim() || it.getAttribute('aria-label') || it.labels?.length)).length,
    );
    assert.equal(unnamed, 0, `everything on ${name} has a name`);
  };
  const press = (selector) =>
    Promise.all([page.waitForNavigation(), page.locator(selector).first().click()]);
  const authorize = (scope, more = {}) => {
    const query = new URLSearchParams({
      client_id: WEB,
      response_type: 'code',
      redirect_uri: REDIRECT,
      scope,
      state: HOSTILE,
      code_challenge: createHash('sha256').update(randomBytes(32)).digest('base64url'),
      code_challenge_method: 'S256',
      ...more,
    });
    return page.goto(`${host}/contoso.example/oauth2/v2.0/authorize?${query}`);
  };
  const type = async (name, password = PASSWORD) => {
    await page.fill('input[name=username]', name);
    await page.fill('input[name=password]', password);
    await press('button[type=submit]');
  };

  await authorize('openid api://hostile/Read', { login_hint: HOSTILE });
  assert.equal(await page.inputValue('input[name=username]'), HOSTILE);
  await look('sign-in', /Sign in/);
  await type(HOSTILE, 'wrong');
  await look('sign-in-wrong', /is wrong/);
  await type('ada@contoso.example');
  await look('consent', /act for you/);
  await press('[name=action][value=accept]');
  assert.ok(page.url().startsWith(REDIRECT));
  await authorize('openid api://hostile/Manage');
  await look('ask-admin', /administrator must allow/);
  await page.fill('textarea', HOSTILE);
  await press('[name=action][value=ask]');
  await look('asked', /request was sent/);
  await page.goto(`${host}/contoso.example/consents`);
  await look('consents', /act for you/);
  await authorize('openid api://hostile/Nothing', { redirect_uri: `https://x.example/${HOSTILE}` });
  await look('error', /AADSTS50011/);
  await page.goto(`${host}/error?code=50196`);
  await look('error-reference', /AADSTS50196/);
  await page.goto(`${host}/${encodeURIComponent(HOSTILE)}/oauth2/v2.0/authorize?client_id=${encodeURIComponent(HOSTILE)}`);
  await look('error-unknown', /refused/i);
  await authorize('openid', { prompt: 'login', login_hint: 'carol@contoso.example' });
  await type('carol@contoso.example');
  if (!page.url().startsWith(REDIRECT)) await press('[name=action][value=accept]');
  await authorize('openid api://hostile/Read', { prompt: 'select_account' });
  await look('accounts', /Pick an account/);
  await press('button.pick:has-text("carol@")');
  if (!page.url().startsWith(REDIRECT)) {
    await look('consent-administrator', /on behalf of your organization/);
    await press('[name=action][value=accept]');
  }
  await page.goto(`${host}/contoso.example/consent-requests`);
  await look('accounts-of-a-page', /Pick an account/);
  await press('button.pick:has-text("carol@")');
  await look('consent-requests', /Requests for consent/);
  await page.goto(`${host}/contoso.example/adminconsent?client_id=${WEB}`);
  await press('button.pick:has-text("carol@")');
  await look('admin-consent', /whole organization/);
  await press('[name=action][value=accept]');
  await look('admin-consented', /Done/);

  const phone = new Device();
  await authorize('openid api://vault/Open', { login_hint: `${owner}@contoso.example` });
  await look('enrol', /Set up a second factor/);
  phone.scan(await page.locator('a[href^="otpauth:"]').getAttribute('href'));
  await page.fill('input[name=code]', HOSTILE.slice(0, 16));
  await press('button[type=submit]');
  await look('enrol-wrong', /wrong/);
  await page.fill('input[name=code]', phone.code());
  await press('button[type=submit]');
  await look('recovery-codes', /Keep your recovery codes/);
  await press('button[type=submit]');
  await look('consent-vault', /act for you/);
  await press('[name=action][value=cancel]');
  await authorize('openid api://vault/Open', { login_hint: `${owner}@contoso.example`, prompt: 'login' });
  await type(`${owner}@contoso.example`);
  await look('code', /Enter your code/);
  await page.fill('input[name=code]', '000000');
  await press('button[type=submit]');
  await look('code-wrong', /wrong/);

  const device = await post(`${host}/contoso.example/oauth2/v2.0/devicecode`, { client_id: WEB, scope: 'openid profile' });
  await page.goto(`${host}/device`);
  await look('device', /Enter code/);
  await page.fill('input[name=user_code]', HOSTILE.slice(0, 20));
  await press('button[type=submit]');
  await look('device-wrong', /No device shows this code/);
  await page.fill('input[name=user_code]', device.user_code);
  await press('button[type=submit]');
  await press('button.pick:has-text("ada@")');
  await look('device-approve', /on a device\?/);
  await page.check('input[name=own]');
  await press('[name=action][value=continue]');
  await look('device-approved', /signed in on your device/);

  await authorize('openid', { response_mode: 'form_post', login_hint: 'ada@contoso.example' });
  await page.goto(`${host}/contoso.example/oauth2/v2.0/logout?state=${encodeURIComponent(HOSTILE)}`);
  await look('sign-out', /sign out\?/);
  await press('[name=account][value=all]');
  await look('signed-out', /You are signed out/);
  assert.deepEqual(faults, []);
  assert.ok(seen.length > 20, seen.join(' '));
  await context.close();
}

const free = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, 'localhost', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Waits until the authority answers. */
async function ready(host, ca) {
  const answers = () =>
    new Promise((resolve) => {
      request(`${host}/health/ready`, { ca }, (answer) => resolve(answer.resume().statusCode === 200))
        .on('error', () => resolve(false))
        .end();
    });
  while (!(await answers())) await new Promise((resolve) => setTimeout(resolve, 50));
}

const post = (url, parameters) =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const sent = request(url, { method: 'POST', headers, rejectUnauthorized: false }, (answer) => {
      let body = '';
      answer.on('data', (part) => (body += part)).on('end', () => resolve(JSON.parse(body)));
    });
    sent.on('error', reject).end(new URLSearchParams(parameters).toString());
  });
