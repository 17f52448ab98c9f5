// What the demo declared about itself.

import { readFileSync } from 'node:fs';
import { X509Certificate } from 'node:crypto';

export const env = JSON.parse(readFileSync(process.env.DEPUTIZE_DEMO_ENV, 'utf8'));
export const { authority, authority_host: host, tenant } = env;
export const { ada, bob, grace } = env.users;
export const { orders, billing } = env.apis;
export const { web, native, daemon, spa } = env.clients;
export const { travel, trips, fares, fabrikam } = env.many_tenants;

export const ISSUER = `${authority}/v2.0`;
export const ORDERS_SCOPE = `${orders.identifier_uri}/access_as_user`;
export const BILLING_READ = `${billing.identifier_uri}/Invoices.Read`;
export const BILLING_DEFAULT = `${billing.identifier_uri}/.default`;
export const REDIRECT = web.redirect_uris[0];
export const TRAVEL = travel.redirect_uris[0];

/** The text of an application's PEM file (key and certificate), and the certificate in it. */
export function pem(app) {
  const text = readFileSync(app.certificate_file, 'utf8');
  const key = text.match(/-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?-----END [A-Z ]*PRIVATE KEY-----/)[0];
  const chain = text.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/)[0];
  return { key, chain, certificate: new X509Certificate(chain) };
}

export const sha256Thumbprint = (certificate) => Buffer.from(certificate.fingerprint256.replaceAll(':', ''), 'hex');
