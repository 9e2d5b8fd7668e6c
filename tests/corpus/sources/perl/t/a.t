use Test::More tests => 4;
ok 1, 'joins'; ok 0, 'splits';
SKIP: { skip 'no net', 1; }
TODO: { local $TODO = 'later'; ok 0, 'open'; }
