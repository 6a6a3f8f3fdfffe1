from flask import Flask, abort, request
from flask_security import Security, SQLAlchemyUserDatastore, hash_password, verify_password
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy

from flask_clustertoken import ClusterToken, current_token, token_required

app = Flask(__name__)
app.config.update(
    SECRET_KEY="for the forms of Flask-Security",
    SECURITY_PASSWORD_SALT="some salt",
    SECURITY_PASSWORD_HASH="pbkdf2_sha512",
    SQLALCHEMY_DATABASE_URI="sqlite://",
    CLUSTERTOKEN_STORE="memory:",
)
db = SQLAlchemy(app)
fsqla_v3.FsModels.set_db_info(db)


class Role(db.Model, fsqla_v3.FsRoleMixin):
    pass


class User(db.Model, fsqla_v3.FsUserMixin):
    pass


users = SQLAlchemyUserDatastore(db, User, Role)
Security(app, users)
tokens = ClusterToken(app)


# -- Flask-Security: the users are theirs, the logins ours --
@app.post("/sign-in")
def sign_in():
    since = tokens.login_begins()
    user = users.find_user(email=request.form["email"])
    if user is None or not verify_password(request.form["password"], user.password):
        abort(401)
    if not user.active:
        abort(403)
    tokens.login(user.fs_uniquifier, since=since)
    return "welcome"


def deactivate(user):
    users.deactivate_user(user)
    users.commit()
    message = "This account is disabled."
    return tokens.lock(subject=user.fs_uniquifier, message=message).confirm(timeout=15)


def activate(user):
    users.activate_user(user)
    users.commit()
    tokens.unlock(subject=user.fs_uniquifier)


# -- end --
@app.get("/news")
@token_required
def news():
    return f"news for {current_token.subject}"


def try_it():
    from flask_clustertoken.testing import TokenClient

    app.test_client_class = TokenClient
    address, password = "alice@example.org", "correct horse battery"
    with app.app_context():
        db.create_all()
        alice = users.create_user(email=address, password=hash_password(password))
        users.commit()
        program = tokens.issue_api_token(alice.fs_uniquifier, "backup").text
    bearer = {"Authorization": f"Bearer {program}"}

    def log_in():
        client = app.test_client()
        answer = client.post("/sign-in", data={"email": address, "password": password})
        return client, answer.status_code

    def press(button):
        with app.app_context():
            return button(users.find_user(email=address))

    def their_half(user):
        users.deactivate_user(user)
        users.commit()

    def answers(client):
        asked = (client.get("/news"), app.test_client().get("/news", headers=bearer))
        return [one.status_code for one in asked] + [log_in()[1]]

    client, status = log_in()
    assert status == 200
    press(their_half)
    assert answers(client) == [200, 200, 403]
    assert press(deactivate)
    assert answers(client) == [403, 403, 403]
    assert client.get("/news").json["message"] == "This account is disabled."
    # Whoever asks no table is kept out all the same.
    press(users.activate_user)
    assert answers(client) == [403, 403, 403]
    press(activate)
    assert answers(client) == [401, 200, 200]
    client, _ = log_in()
    assert client.get("/news").status_code == 200
