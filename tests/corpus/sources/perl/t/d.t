use Test::More tests => 3;
ok 1, 'begins'; exit 3;
