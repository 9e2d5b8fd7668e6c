import Test.Hspec
main :: IO ()
main = hspec $ do
  describe "Words" $ do
    it "joins" $ (1 :: Int) `shouldBe` 1
    it "splits" $ (1 :: Int) `shouldBe` 2
    it "prints" $ putStrLn "  inner FAILED [9]"
    xit "skips" $ (1 :: Int) `shouldBe` 2
    it "waits" $ pendingWith "no net"
    context "when empty" $ do
      it "joins" $ (1 :: Int) `shouldBe` 1
      it "errs" $ (error "what" :: Int) `shouldBe` 1
