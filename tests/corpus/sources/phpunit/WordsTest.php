<?php
use PHPUnit\Framework\TestCase;
final class WordsTest extends TestCase {
  public function testJoins(): void { $this->assertSame(1, 1); }
  public function testSplits(): void { echo " ✔ Inner\n"; $this->assertSame(1, 2); }
  public function testSkips(): void { $this->markTestSkipped('no net'); }
  public function testOpen(): void { $this->markTestIncomplete('later'); }
  public function testErrs(): void { throw new RuntimeException('what'); }
  public function testNothing(): void { }
  /** @dataProvider numbers */
  public function testEven(int $n): void { $this->assertSame(0, $n % 2); }
  public function numbers(): array { return ['two' => [2], 'three' => [3]]; }
}
