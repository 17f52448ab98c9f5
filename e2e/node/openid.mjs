// openid-client, a certified OpenID Connect client: discovery, the code flow, and On-Behalf-Of as a generic grant.

import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { createPrivateKey } from 'node:crypto';
import { decodeJwt } from 'jose';
import * as client from 'openid-client';
import { once, test } from './runner.mjs';
import { signIn } from './browser.mjs';
import {
  ada, billing, BILLING_DEFAULT, BILLING_READ, daemon, env, host, ISSUER, native, orders, ORDERS_SCOPE, pem, REDIRECT,
  sha256Thumbprint, tenant, web,
} from './world.mjs';

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

export const discovered = (app, auth, issuer = ISSUER, options) =>
  client.discovery(new URL(issuer), app.app_id, undefined, auth ?? client.ClientSecretPost(app.client_secret), options);

export async function codeFlow(config, scope, more = {}, how = {}) {
  const verifier = client.randomPKCECodeVerifier();
  const [state, nonce] = [client.randomState(), client.randomNonce()];
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: REDIRECT,
    scope,
    state,
    nonce,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...more,
  });
  const back = await signIn(url, how.user ?? ada, how);
  return client.authorizationCodeGrant(config, back, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
    idTokenExpected: true,
  });
}

/** Ada's tokens at the web client; the ID token's signature is checked by openid-client too. */
export const adaAtWeb = once(async () => {
  const config = await discovered(web);
  client.enableNonRepudiationChecks(config);
  return codeFlow(config, `openid profile offline_access ${ORDERS_SCOPE}`);
});

const onBehalfOf = async (config, scope, assertion) =>
  client.genericGrantRequest(config, JWT_BEARER, { requested_token_use: 'on_behalf_of', scope, assertion });

/** Ada's token for Billing, obtained by Orders on her behalf. */
export const adaAtBilling = once(async () => {
  const config = await discovered(orders);
  return onBehalfOf(config, BILLING_READ, (await adaAtWeb()).access_token);
});

async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return error.cause?.error ? error.cause : error;
  }
  throw new Error('a token came where a refusal was due');
}

test('discovery finds the same issuer and endpoints in every well-known form', async () => {
  const wanted = (await discovered(web)).serverMetadata();
  assert.equal(wanted.issuer, ISSUER);
  const rfc8414 = (await discovered(web, undefined, ISSUER, { algorithm: 'oauth2' })).serverMetadata();
  for (const member of ['issuer', 'authorization_endpoint', 'token_endpoint', 'jwks_uri']) {
    assert.equal(rfc8414[member], wanted[member], member);
  }
  const inserted = await (await fetch(ISSUER.replace(host, `${host}/.well-known/openid-configuration`))).json();
  assert.equal(inserted.token_endpoint, wanted.token_endpoint);
});

test('metadata advertises S256, no implicit and no password', async () => {
  const metadata = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
  assert.deepEqual(metadata.code_challenge_methods_supported, ['S256']);
  assert.ok(metadata.response_types_supported.every((type) => !type.split(' ').includes('token')));
  for (const grant of ['password', 'implicit']) assert.ok(!metadata.grant_types_supported?.includes(grant));
});

test('metadata of a domain name names the tenant by its id, and of an alias by a template', async () => {
  const of = async (segment) => (await fetch(`${host}/${segment}/v2.0/.well-known/openid-configuration`)).json();
  assert.equal((await of(tenant.domain)).issuer, ISSUER);
  for (const alias of ['common', 'organizations']) assert.equal((await of(alias)).issuer, `${host}/{tenantid}/v2.0`);
});

test('the code flow with PKCE signs ada in, and the ID token is hers', async () => {
  const tokens = await adaAtWeb();
  assert.equal(tokens.claims().oid, ada.oid);
  assert.equal(tokens.claims().aud, web.app_id);
  assert.equal(decodeJwt(tokens.access_token).aud, orders.app_id);
  assert.ok(tokens.refresh_token);
});

test('userinfo answers for the subject of the ID token', async () => {
  const config = await discovered(web);
  const tokens = await codeFlow(config, 'openid profile');
  const info = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
  assert.equal(info.sub, tokens.claims().sub);
});

test('a refresh keeps the user and narrows nothing', async () => {
  const tokens = await adaAtWeb();
  const again = await client.refreshTokenGrant(await discovered(web), tokens.refresh_token, { scope: ORDERS_SCOPE });
  assert.equal(decodeJwt(again.access_token).oid, ada.oid);
});

test('orders calls billing for ada by a generic grant', async () => {
  const claims = decodeJwt((await adaAtBilling()).access_token);
  assert.equal(claims.oid, ada.oid);
  assert.equal(claims.aud, billing.app_id);
  assert.equal(claims.azp, orders.app_id);
  assert.equal(claims.scp, 'Invoices.Read');
});

test('the secret may be sent by HTTP Basic', async () => {
  const config = await discovered(orders, client.ClientSecretBasic(orders.client_secret));
  const answer = await onBehalfOf(config, BILLING_READ, (await adaAtWeb()).access_token);
  assert.equal(decodeJwt(answer.access_token).azpacr, '1');
});

test('a certificate may sign the client assertion', async () => {
  const { key, certificate } = pem(orders);
  const der = createPrivateKey(key).export({ type: 'pkcs8', format: 'der' });
  const signer = await webcrypto.subtle.importKey('pkcs8', der, { name: 'RSA-PSS', hash: 'SHA-256' }, false, ['sign']);
  const auth = client.PrivateKeyJwt(signer, {
    [client.modifyAssertion]: (header) => {
      header['x5t#S256'] = sha256Thumbprint(certificate).toString('base64url');
    },
  });
  const answer = await onBehalfOf(await discovered(orders, auth), BILLING_READ, (await adaAtWeb()).access_token);
  assert.equal(decodeJwt(answer.access_token).azpacr, '2');
});

test('an answer without openid and offline_access holds neither ID token nor refresh token', async () => {
  const answer = await adaAtBilling();
  assert.equal(answer.id_token, undefined);
  assert.equal(answer.refresh_token, undefined);
});

test('client credentials give the application its role', async () => {
  const answer = await client.clientCredentialsGrant(await discovered(daemon), { scope: BILLING_DEFAULT });
  assert.deepEqual(decodeJwt(answer.access_token).roles, daemon.app_roles_at[billing.identifier_uri]);
});

test('a missing consent is refused with 65001 and a hint', async () => {
  const config = await discovered(orders);
  const body = await refusal(onBehalfOf(config, env.unconsented.scope, (await adaAtWeb()).access_token));
  assert.equal(body.error, 'invalid_grant');
  assert.equal(body.suberror, 'consent_required');
  assert.deepEqual(body.error_codes, [65001]);
  assert.ok(JSON.stringify(body.deputize_hint).includes('Invoices.Approve'));
});

test('a public client may not exchange', async () => {
  const config = await discovered(native, client.None());
  const body = await refusal(onBehalfOf(config, BILLING_READ, (await adaAtWeb()).access_token));
  assert.ok(['invalid_client', 'unauthorized_client'].includes(body.error), body.error);
});

test('the resource parameter alone is Entra\'s old dialect and refused on v2', async () => {
  const config = await discovered(daemon);
  const body = await refusal(client.clientCredentialsGrant(config, { resource: billing.identifier_uri }));
  assert.ok(body.error_codes.includes(901002), JSON.stringify(body));
});
