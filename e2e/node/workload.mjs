// Programs without a secret of their own, with @azure/identity: tokens of a foreign issuer (oidc-provider), and managed
// identities of a site.

import assert from 'node:assert/strict';
import https from 'node:https';
import { readFileSync } from 'node:fs';
import { ClientAssertionCredential, ManagedIdentityCredential } from '@azure/identity';
import { ManagedIdentityApplication } from '@azure/msal-node';
import { decodeJwt, exportJWK, generateKeyPair } from 'jose';
import Provider, { errors } from 'oidc-provider';
import { once, test } from './runner.mjs';
import { BILLING_DEFAULT, daemon, env, host, tenant } from './world.mjs';

const { issuer, managed_identity: identities } = env;
const SETTINGS = { authorityHost: host, disableInstanceDiscovery: true };
const SECRET = 'what only the platform knows';

/** oidc-provider as the platform's issuer: its client `workload` gets JWT access tokens for any audience it may ask for. */
const foreign = once(async () => {
  const audiences = { [issuer.audience]: true, 'api://elsewhere': true };
  const info = (audience) => {
    if (!audiences[audience]) throw new errors.InvalidTarget('another audience');
    return { scope: 'run', audience, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'RS256' } } };
  };
  const client = (client_id) => ({
    client_id,
    client_secret: SECRET,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'client_secret_post',
    scope: 'run',
  });
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const provider = new Provider(issuer.url, {
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'RS256', kid: 'of-oidc-provider', use: 'sig' }] },
    clients: [client(issuer.subject), client('another')],
    scopes: ['run'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo: (_, audience) => info(audience) },
    },
  });
  const tls = { cert: readFileSync(issuer.certificate_file), key: readFileSync(issuer.key_file) };
  const server = https.createServer(tls, provider.callback());
  await new Promise((listening) => server.listen(Number(new URL(issuer.url).port), '127.0.0.1', listening));
  server.unref();
});

async function token(client_id = issuer.subject, resource = issuer.audience) {
  await foreign();
  const body = new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret: SECRET, scope: 'run', resource });
  const answer = await fetch(`${issuer.url}/token`, { method: 'POST', body });
  const json = await answer.json();
  assert.ok(json.access_token, JSON.stringify(json));
  return json.access_token;
}

const asserting = (assertion) => new ClientAssertionCredential(tenant.id, daemon.app_id, assertion, SETTINGS);

function check(accessToken, appId) {
  const claims = decodeJwt(accessToken);
  assert.deepEqual([claims.azp, claims.azpacr, claims.idtyp], [appId, '2', 'app']);
  assert.deepEqual(claims.roles, ['Invoices.Export']);
  return claims;
}

test('@azure/identity proves the daemon with a token of oidc-provider', async () => {
  const credential = asserting(() => token());
  check((await credential.getToken(BILLING_DEFAULT)).token, daemon.app_id);
});

test('a token of oidc-provider for another subject or audience proves nothing', async () => {
  await assert.rejects(asserting(() => token('another')).getToken(BILLING_DEFAULT), /AADSTS700213: /);
  await assert.rejects(
    asserting(() => token(issuer.subject, 'api://elsewhere')).getToken(BILLING_DEFAULT),
    /AADSTS700212: /,
  );
});

/** Runs as a program on the site does: with its two variables. */
async function onTheSite(header, work) {
  Object.assign(process.env, { IDENTITY_ENDPOINT: identities.endpoint, IDENTITY_HEADER: header });
  try {
    await work();
  } finally {
    delete process.env.IDENTITY_ENDPOINT;
    delete process.env.IDENTITY_HEADER;
  }
}

test('@azure/identity on a site is its managed identity, and those that are assigned', () =>
  onTheSite(identities.header, async () => {
    const { system, user } = identities;
    for (const [identity, options] of [
      [system, undefined],
      [user, { clientId: user.client_id }],
      [user, { objectId: user.object_id }],
      [user, { resourceId: user.resource_id }],
    ]) {
      const credential = options ? new ManagedIdentityCredential(options) : new ManagedIdentityCredential();
      const claims = check((await credential.getToken(BILLING_DEFAULT)).token, identity.client_id);
      assert.deepEqual([claims.oid, claims.xms_mirid], [identity.object_id, identity.resource_id]);
    }
  }));

test('msal-node on a site is its managed identity, and those that are assigned', () =>
  onTheSite(identities.header, async () => {
    const { system, user } = identities;
    for (const [identity, managedIdentityIdParams] of [
      [system, undefined],
      [user, { userAssignedClientId: user.client_id }],
      [user, { userAssignedObjectId: user.object_id }],
      [user, { userAssignedResourceId: user.resource_id }],
    ]) {
      const application = new ManagedIdentityApplication({ managedIdentityIdParams });
      const answer = await application.acquireToken({ resource: BILLING_DEFAULT });
      assert.equal(check(answer.accessToken, identity.client_id).oid, identity.object_id);
    }
  }));

test('@azure/identity gets nothing for an identity that the site does not have', () =>
  onTheSite(identities.header, async () => {
    const credential = new ManagedIdentityCredential({ clientId: daemon.app_id });
    await assert.rejects(credential.getToken(BILLING_DEFAULT));
  }));
