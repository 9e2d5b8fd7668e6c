use strict;
use warnings;
use utf8;
use Test::More;

binmode(Test::More->builder->$_, ':utf8') for qw(output failure_output todo_output);
ok(1, 'passes');
is(1 + 1, 3, 'fails');
is('a', 'größer', 'größer # 1');
SKIP: { skip 'no net', 2; ok(1, 'never'); ok(1, 'tried'); }
TODO: { local $TODO = 'later'; ok(0, 'to do'); ok(1, 'done by now'); }
subtest 'outer' => sub {
    plan tests => 2;
    ok(1, 'inner passes');
    subtest 'deeper' => sub { ok(0, 'inner fails'); done_testing; };
};
subtest 'skipped' => sub { plan skip_all => 'not here'; };
print "printed in between\n";
diag('told in between');
ok(1);
done_testing;
