use Test::More tests => 3;
ok(1, 'passes');
ok(0, 'fails');
die "in the middle\n";
