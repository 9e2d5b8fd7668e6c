@test "adds" {
  [ 2 -eq 2 ]
}
@test "fails with output" {
  echo " ✓ inner"
  echo "ok 1 inner"
  [ 1 -eq 2 ]
}
@test "skips" {
  skip "no net"
}
@test "adds again" {
  true
}
