"""Applications in their own name: client credentials with msal, by secret and by certificate."""

from runner import expect, test
from world import *

EXPORT = [BILLING["identifier_uri"] + "/.default"]


def _check(answer, how):
    token = claims(answer["access_token"])
    expect((token["azp"], token["azpacr"]), (DAEMON["app_id"], how), "client")
    expect(token["roles"], DAEMON["app_roles_at"][BILLING["identifier_uri"]], "roles")
    expect((token["idtyp"], token["aud"]), ("app", BILLING["app_id"]), "kind and audience")
    expect(token["oid"], token["sub"], "an application is its own subject")
    assert "scp" not in token, "no user, no delegated scope"
    assert "refresh_token" not in answer and "id_token" not in answer


@test
def the_daemon_gets_a_token_by_its_secret_and_keeps_it():
    app = confidential(DAEMON)
    _check(succeeded(app.acquire_token_for_client(EXPORT)), "1")
    expect(app.acquire_token_for_client(EXPORT)["token_source"], "cache", "second call")


@test
def the_daemon_gets_a_token_by_its_certificate_in_the_older_form():
    _check(succeeded(confidential(DAEMON, by_sha1_thumbprint(DAEMON)).acquire_token_for_client(EXPORT)), "2")


@test
def the_daemon_gets_a_token_by_its_certificate_in_the_newer_form():
    _check(succeeded(confidential(DAEMON, by_certificate(DAEMON)).acquire_token_for_client(EXPORT)), "2")


@test
def a_client_that_understands_claims_challenges_may_say_so():
    _check(succeeded(confidential(DAEMON, client_capabilities=["cp1"]).acquire_token_for_client(EXPORT)), "1")


@test
def a_wrong_secret_is_refused():
    answer = confidential(DAEMON, "not the secret").acquire_token_for_client(EXPORT)
    refused(answer, "invalid_client", 7000215)


@test
def the_certificate_of_another_application_is_refused():
    answer = confidential(DAEMON, by_certificate(ORDERS)).acquire_token_for_client(EXPORT)
    assert answer["error"] == "invalid_client" and {700027, 7000274} & set(answer["error_codes"]), answer


@test
def an_application_that_does_not_exist_is_refused():
    nobody = {"app_id": "00000000-0000-4000-8000-00000000dead", "client_secret": "some secret"}
    refused(confidential(nobody).acquire_token_for_client(EXPORT), "unauthorized_client", 700016)


@test
def a_resource_that_does_not_exist_is_refused():
    answer = confidential(DAEMON).acquire_token_for_client(["api://nothing-here/.default"])
    refused(answer, "invalid_resource", 500011)


@test
def a_single_scope_is_refused_where_only_default_has_a_meaning():
    refused(confidential(DAEMON).acquire_token_for_client([BILLING_READ]), "invalid_scope", 70011)
