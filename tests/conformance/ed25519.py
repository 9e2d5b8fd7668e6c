"""Ed25519 signatures by RFC 8032, for a worker that has Python's standard library and nothing else.

Slow, and no defence against somebody who measures its time: for tests alone.
"""

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def _base():
    """The point with y = 4/5 and an even x, in extended coordinates: x = X/Z, y = Y/Z, T = XY/Z."""
    y = 4 * pow(5, P - 2, P) % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (P - x if x % 2 else x, y, 1, (P - x if x % 2 else x) * y % P)


BASE = _base()


def _add(one, other):
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _times(scalar, point):
    sum_ = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            sum_ = _add(sum_, point)
        point, scalar = _add(point, point), scalar >> 1
    return sum_


def _encoded(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _number(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def _halves(secret):
    digest = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
    return scalar, digest[32:]


def public(secret):
    """The public key of 32 secret bytes."""
    return _encoded(_times(_halves(secret)[0], BASE))


def sign(secret, message):
    scalar, prefix = _halves(secret)
    once = _number(prefix, message)
    point = _encoded(_times(once, BASE))
    answer = once + _number(point, public(secret), message) * scalar
    return point + (answer % ORDER).to_bytes(32, "little")
