from flask import Flask
from flask_login import LoginManager, UserMixin, login_required
from flask_wtf.csrf import CSRFProtect

from flask_clustertoken import ClusterToken, current_token

app = Flask(__name__)
app.config.update(SECRET_KEY="for the forms of Flask-WTF", CLUSTERTOKEN_STORE="memory:")
tokens = ClusterToken(app)

# -- Flask-Login: finds the user, makes no login --
login_manager = LoginManager(app)


class User(UserMixin):
    def __init__(self, name):
        self.id = name


@login_manager.request_loader
def load_user(request):
    return User(current_token.subject) if current_token else None


@app.get("/profile")
@login_required
def profile():
    return current_token.subject


# -- Flask-WTF: for cookies, not for API tokens --
app.config["WTF_CSRF_CHECK_DEFAULT"] = False
csrf = CSRFProtect(app)


@app.before_request
def check_csrf():
    if current_token.kind != "api":
        csrf.protect()


# -- end --
@app.post("/orders")
def order():
    return "ordered"


def try_it():
    from flask_clustertoken.testing import TokenClient

    app.test_client_class = TokenClient
    assert app.test_client(subject="alice").get("/profile").text == "alice"
    assert app.test_client().get("/profile").status_code == 401
    assert app.test_client(subject="robot", kind="api").post("/orders").text == "ordered"
    assert app.test_client(subject="alice").post("/orders").status_code == 400
    forged = {"Authorization": "Bearer nonsense"}
    assert app.test_client().post("/orders", headers=forged).status_code == 400
