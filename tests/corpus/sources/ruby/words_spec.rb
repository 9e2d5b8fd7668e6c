describe "Words" do
  it("joins") { expect(1).to eq 1 }
  it("prints") { puts "  joins (FAILED - 9)" }
  it("splits") { expect(1).to eq 2 }
  xit("skips") { }
  it "waits"
  pending("fixed") { expect(1).to eq 1 }
  pending("open") { expect(1).to eq 2 }
  context "when empty" do
    it("joins") { expect(1).to eq 1 }
    it("errs") { raise "what" }
  end
end
