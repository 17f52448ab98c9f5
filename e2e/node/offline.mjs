// Unmodified Node programs on a machine without Microsoft: @azure/msal-node and @azure/identity with their default authority,
// started by `deputize run` with the estate of e2e/python/offline.toml. `cargo xtask test --only e2e-offline` does it.

import assert from 'node:assert/strict';
import { ConfidentialClientApplication } from '@azure/msal-node';
import { ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential } from '@azure/identity';
import { run, test } from './runner.mjs';

const TENANT = '0ff11e00-0000-4000-8000-000000000001';
const DAEMON = '0ff11e00-0000-4000-8000-0000000000c3';
const MACHINE = '0ff11e00-0000-4000-8000-0000000000e1';
const EXPORT = 'api://billing/.default';
const SECRET = process.env.OFFLINE_DAEMON;

const claims = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
const daemon = (clientSecret) =>
  new ConfidentialClientApplication({
    auth: { clientId: DAEMON, authority: `https://login.microsoftonline.com/${TENANT}`, clientSecret },
  });

test('msal-node gets an app-only token from the default authority', async () => {
  const { accessToken } = await daemon(SECRET).acquireTokenByClientCredential({ scopes: [EXPORT] });
  assert.equal(claims(accessToken).iss, `https://login.microsoftonline.com/${TENANT}/v2.0`);
});

test('@azure/identity gets one naming nothing but its tenant', async () => {
  const { token } = await new ClientSecretCredential(TENANT, DAEMON, SECRET).getToken(EXPORT);
  assert.deepEqual(claims(token).roles, ['Invoices.Export']);
});

test('the machine has an identity, also for a program that configures nothing', async () => {
  for (const credential of [new ManagedIdentityCredential(), new DefaultAzureCredential()]) {
    assert.equal(claims((await credential.getToken(EXPORT)).token).azp, MACHINE);
  }
});

test('msal-node tells the code of a wrong secret and of a resource that does not exist', async () => {
  const refused = (client, scope, code) =>
    assert.rejects(client.acquireTokenByClientCredential({ scopes: [scope] }), new RegExp(`AADSTS${code}: `));
  await refused(daemon('not the secret'), EXPORT, 7000215);
  await refused(daemon(SECRET), 'api://nothing-here/.default', 500011);
});

process.exitCode = await run('e2e-offline node', process.argv.slice(2));
