"""Who a request comes from."""

import pytest
from chainlit.auth import create_jwt
from chainlit.user import User

from ui.signin import COOKIE, person_of, token_of, web_caller


@pytest.mark.parametrize(("cookies", "authorization", "token"), [
    ({COOKIE: "abc"}, "", "abc"), ({f"{COOKIE}_0": "a", f"{COOKIE}_1": "b", f"{COOKIE}_3": "x"}, "", "ab"), ({}, "Bearer abc", "abc"),
    ({}, "bearer  abc ", "abc"), ({}, "Basic abc", ""), ({COOKIE: "abc"}, "Bearer other", "abc"), ({"other": "x"}, "", ""),
])
def test_the_token_is_found_as_chainlit_finds_it(cookies: dict[str, str], authorization: str, token: str):
    assert token_of(cookies, authorization) == token


def test_a_token_of_ours_names_a_person_and_any_other_nobody():
    token = create_jwt(User(identifier="owner"))
    assert person_of(token) == "owner"
    assert [person_of(other) for other in ("", "x", token + "x", token.rsplit(".", 1)[0] + ".")] == [None] * 4


def test_a_caller_bears_the_hash_of_the_session_and_never_the_token():
    caller = web_caller("owner", "secret-token", "thread")
    assert (caller.person, caller.via, caller.thread) == ("owner", "web", "thread")
    assert len(caller.session) == 64 and "secret-token" not in repr(caller)
