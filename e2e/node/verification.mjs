// Our tokens checked by somebody else's code: jose and our published key set, nothing of ours.

import assert from 'node:assert/strict';
import { createRemoteJWKSet, decodeProtectedHeader, errors, jwtVerify } from 'jose';
import { once, test } from './runner.mjs';
import { adaAtBilling, adaAtWeb } from './openid.mjs';
import { ada, billing, host, ISSUER, orders, web } from './world.mjs';

const keys = once(async () => {
  const metadata = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
  return { remote: createRemoteJWKSet(new URL(metadata.jwks_uri)), uri: metadata.jwks_uri };
});

const verify = async (token, audience) =>
  jwtVerify(token, (await keys()).remote, { issuer: ISSUER, audience, algorithms: ['RS256', 'ES256'], requiredClaims: ['exp', 'nbf', 'iat', 'tid'] });

test('the access token for orders verifies', async () => {
  const { payload, protectedHeader } = await verify((await adaAtWeb()).access_token, orders.app_id);
  assert.equal(payload.oid, ada.oid);
  assert.equal(protectedHeader.typ, 'JWT');
});

test('the ID token verifies and is no access token', async () => {
  const { payload } = await verify((await adaAtWeb()).id_token, web.app_id);
  assert.equal(payload.azp, undefined);
  assert.equal(payload.idtyp, undefined);
});

test('the token obtained on behalf of ada verifies for billing only', async () => {
  const { access_token: token } = await adaAtBilling();
  assert.equal((await verify(token, billing.app_id)).payload.azp, orders.app_id);
  await assert.rejects(verify(token, orders.app_id), errors.JWTClaimValidationFailed);
});

test('a changed byte is noticed', async () => {
  const [head, body, signature] = (await adaAtWeb()).access_token.split('.');
  const claims = JSON.parse(Buffer.from(body, 'base64url'));
  const forged = Buffer.from(JSON.stringify({ ...claims, oid: claims.tid })).toString('base64url');
  await assert.rejects(verify(`${head}.${forged}.${signature}`, orders.app_id), errors.JWSSignatureVerificationFailed);
});

test('every key is published with a kid, a certificate and an issuer, and nothing private', async () => {
  const { uri } = await keys();
  const set = await (await fetch(uri)).json();
  const used = decodeProtectedHeader((await adaAtWeb()).access_token).kid;
  assert.ok(set.keys.some(({ kid }) => kid === used));
  for (const key of set.keys) {
    assert.ok(key.kid && key.use === 'sig' && key.issuer?.startsWith(host), JSON.stringify(key));
    for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) assert.ok(!(secret in key), `${secret} is published`);
    if (key.kty === 'RSA') assert.equal(key.x5t, key.kid);
  }
});
