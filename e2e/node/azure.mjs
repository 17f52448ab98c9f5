// @azure/identity, with the two settings that a private authority needs and nothing else.

import assert from 'node:assert/strict';
import {
  AuthorizationCodeCredential, ClientCertificateCredential, ClientSecretCredential, OnBehalfOfCredential,
} from '@azure/identity';
import { decodeJwt } from 'jose';
import { test } from './runner.mjs';
import { signIn } from './browser.mjs';
import { adaAtWeb } from './openid.mjs';
import {
  ada, authority, BILLING_DEFAULT, BILLING_READ, daemon, env, host, orders, ORDERS_SCOPE, REDIRECT, tenant, web,
} from './world.mjs';

const SETTINGS = { authorityHost: host, disableInstanceDiscovery: true };

test('@azure/identity gets a token by secret and by certificate', async () => {
  const path = { certificatePath: daemon.certificate_file };
  for (const [credential, how] of [
    [new ClientSecretCredential(tenant.id, daemon.app_id, daemon.client_secret, SETTINGS), '1'],
    [new ClientCertificateCredential(tenant.id, daemon.app_id, path, SETTINGS), '2'],
    [new ClientCertificateCredential(tenant.id, daemon.app_id, path, { ...SETTINGS, sendCertificateChain: true }), '2'],
  ]) {
    for (const enableCae of [false, true]) {
      const { token } = await credential.getToken(BILLING_DEFAULT, { enableCae });
      assert.deepEqual([decodeJwt(token).azpacr, decodeJwt(token).roles], [how, ['Invoices.Export']]);
    }
  }
});

const exchanging = async () =>
  new OnBehalfOfCredential({
    tenantId: tenant.id,
    clientId: orders.app_id,
    clientSecret: orders.client_secret,
    userAssertionToken: (await adaAtWeb()).access_token,
    ...SETTINGS,
  });

test('@azure/identity calls billing for ada, from its cache and with claims', async () => {
  const credential = await exchanging();
  const { token } = await credential.getToken(BILLING_READ);
  assert.deepEqual([decodeJwt(token).oid, decodeJwt(token).azp], [ada.oid, orders.app_id]);
  assert.equal((await credential.getToken(BILLING_READ)).token, token);
  const since = decodeJwt((await adaAtWeb()).access_token).iat - 60;
  const claims = JSON.stringify({ access_token: { nbf: { essential: true, value: String(since) } } });
  const anew = await credential.getToken(BILLING_READ, { claims });
  assert.notEqual(anew.token, token);
  assert.equal(decodeJwt(anew.token).oid, ada.oid);
});

test('@azure/identity says why an exchange was refused', async () => {
  await assert.rejects((await exchanging()).getToken(env.unconsented.scope), /AADSTS65001/);
});

test('@azure/identity signs ada in by the authorization code flow', async () => {
  const url = `${authority}/oauth2/v2.0/authorize?${new URLSearchParams({
    client_id: web.app_id, response_type: 'code', redirect_uri: REDIRECT, scope: `openid offline_access ${ORDERS_SCOPE}`,
  })}`;
  const code = (await signIn(url, ada)).searchParams.get('code');
  const credential = new AuthorizationCodeCredential(tenant.id, web.app_id, web.client_secret, code, REDIRECT, SETTINGS);
  assert.equal(decodeJwt((await credential.getToken(ORDERS_SCOPE)).token).oid, ada.oid);
});
