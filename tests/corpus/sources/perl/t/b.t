use Test::More tests => 2;
ok 1, 'joins'; subtest inner => sub { ok 1, 'x'; ok 1, 'y'; done_testing; };
