// @azure/msal-node, with `knownAuthorities` as the one setting that a private authority needs.

import assert from 'node:assert/strict';
import {
  ConfidentialClientApplication, CryptoProvider, InteractionRequiredAuthError, ProtocolMode,
} from '@azure/msal-node';
import { decodeJwt } from 'jose';
import { test } from './runner.mjs';
import { signIn } from './browser.mjs';
import { adaAtWeb } from './openid.mjs';
import {
  ada, authority, billing, BILLING_DEFAULT, BILLING_READ, daemon, env, host, ISSUER, orders, ORDERS_SCOPE, pem, REDIRECT,
  sha256Thumbprint, tenant, web,
} from './world.mjs';

const confidential = (app, credential = { clientSecret: app.client_secret }) =>
  new ConfidentialClientApplication({
    auth: { clientId: app.app_id, authority, knownAuthorities: [new URL(host).host], ...credential },
  });

test('msal-node gets a token by secret, and the second from its cache', async () => {
  const app = confidential(daemon);
  const first = await app.acquireTokenByClientCredential({ scopes: [BILLING_DEFAULT] });
  assert.deepEqual(decodeJwt(first.accessToken).roles, daemon.app_roles_at[billing.identifier_uri]);
  assert.equal((await app.acquireTokenByClientCredential({ scopes: [BILLING_DEFAULT] })).fromCache, true);
});

test('msal-node gets a token by certificate', async () => {
  const { key, chain, certificate } = pem(daemon);
  const thumbprintSha256 = sha256Thumbprint(certificate).toString('hex');
  for (const x5c of [undefined, chain]) {
    const app = confidential(daemon, { clientCertificate: { thumbprintSha256, privateKey: key, x5c } });
    const answer = await app.acquireTokenByClientCredential({ scopes: [BILLING_DEFAULT] });
    assert.equal(decodeJwt(answer.accessToken).azpacr, '2');
  }
});

test('msal-node signs ada in by the authorization code flow and refreshes silently', async () => {
  const app = confidential(web);
  const { verifier, challenge } = await new CryptoProvider().generatePkceCodes();
  const request = { scopes: [ORDERS_SCOPE], redirectUri: REDIRECT, state: 'a state', nonce: 'a nonce' };
  const url = await app.getAuthCodeUrl({ ...request, codeChallenge: challenge, codeChallengeMethod: 'S256' });
  const back = await signIn(url, ada);
  assert.equal(back.searchParams.get('state'), 'a state');
  const answer = await app.acquireTokenByCode(
    { ...request, code: back.searchParams.get('code'), codeVerifier: verifier },
    { nonce: 'a nonce', state: 'a state', code: back.searchParams.get('code') },
  );
  assert.equal(answer.account.homeAccountId, `${ada.oid}.${tenant.id}`);
  assert.equal(answer.idTokenClaims.nonce, 'a nonce');
  const silent = await app.acquireTokenSilent({ account: answer.account, scopes: [ORDERS_SCOPE], forceRefresh: true });
  assert.equal(decodeJwt(silent.accessToken).oid, ada.oid);
  assert.notEqual(silent.accessToken, answer.accessToken);
});

test('msal-node calls billing for ada, and keeps the token for this assertion', async () => {
  const app = confidential(orders);
  const request = { oboAssertion: (await adaAtWeb()).access_token, scopes: [BILLING_READ] };
  const answer = await app.acquireTokenOnBehalfOf(request);
  assert.equal(decodeJwt(answer.accessToken).oid, ada.oid);
  assert.equal(decodeJwt(answer.accessToken).azp, orders.app_id);
  assert.equal((await app.acquireTokenOnBehalfOf(request)).fromCache, true);
});

test('msal-node exchanges anew with claims', async () => {
  const app = confidential(orders);
  const request = { oboAssertion: (await adaAtWeb()).access_token, scopes: [BILLING_READ] };
  const { accessToken } = await app.acquireTokenOnBehalfOf(request);
  const since = decodeJwt(request.oboAssertion).iat - 60;
  const claims = JSON.stringify({ access_token: { nbf: { essential: true, value: String(since) } } });
  const answer = await app.acquireTokenOnBehalfOf({ ...request, claims });
  assert.equal(answer.fromCache, false);
  assert.equal(decodeJwt(answer.accessToken).oid, ada.oid);
  assert.notEqual(answer.accessToken, accessToken);
  const unknown = JSON.stringify({ access_token: { acrs: { essential: true, value: 'c98' } } });
  await assert.rejects(app.acquireTokenOnBehalfOf({ ...request, claims: unknown }), InteractionRequiredAuthError);
});

test('msal-node in OIDC mode signs ada in', async () => {
  const app = new ConfidentialClientApplication({
    auth: { clientId: web.app_id, clientSecret: web.client_secret, authority: ISSUER, knownAuthorities: [new URL(host).host] },
    system: { protocolMode: ProtocolMode.OIDC },
  });
  const request = { scopes: [ORDERS_SCOPE], redirectUri: REDIRECT };
  const back = await signIn(await app.getAuthCodeUrl(request), ada);
  const answer = await app.acquireTokenByCode({ ...request, code: back.searchParams.get('code') });
  assert.equal(decodeJwt(answer.accessToken).oid, ada.oid);
  assert.equal(answer.idTokenClaims.iss, ISSUER);
});

test('msal-node knows that a missing consent needs the user', async () => {
  const request = { oboAssertion: (await adaAtWeb()).access_token, scopes: [env.unconsented.scope] };
  await assert.rejects(confidential(orders).acquireTokenOnBehalfOf(request), (error) => {
    assert.ok(error instanceof InteractionRequiredAuthError, error.stack);
    assert.equal(error.subError, 'consent_required');
    return true;
  });
});

test('msal-node reports a wrong secret as such', async () => {
  const app = confidential(daemon, { clientSecret: 'not the secret' });
  await assert.rejects(app.acquireTokenByClientCredential({ scopes: [BILLING_DEFAULT] }), { errorCode: 'invalid_client' });
});
