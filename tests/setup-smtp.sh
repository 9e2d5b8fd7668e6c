#!/bin/sh
# Installs aiosmtpd, the SMTP server that tests/tests/mail.rs connects to, into the target folder unless it is there.
set -eu
version=1.4.6
cd "$(dirname "$0")/.."
venv="${CARGO_TARGET_DIR:-target}/smtp"
mark="$venv/aiosmtpd-$version"
# The mark is made last, so an installation that was interrupted is started again.
if [ -e "$mark" ] && "$venv/bin/python" -c 'import aiosmtpd' 2>/dev/null; then
    exit 0
fi
echo "setup-smtp: installing aiosmtpd $version into $venv"
rm -rf "$venv"
python3 -m venv "$venv" || {
    echo "setup-smtp: python3 cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
    exit 1
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "aiosmtpd==$version"
touch "$mark"
