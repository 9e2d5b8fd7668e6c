//! ```
//! assert_eq!(1 + 1, 2);
//! ```

#[cfg(test)]
mod tests {
    #[test]
    fn passes() {
        println!("printed by a pass");
    }

    #[test]
    fn fails() {
        assert_eq!(1 + 1, 3, "größer als erlaubt");
    }

    #[test]
    #[ignore = "no net"]
    fn is_ignored() {}

    #[test]
    #[should_panic(expected = "out of range")]
    fn panics_with_other_words() {
        panic!("something else");
    }

    #[test]
    #[should_panic]
    fn panics_as_it_should() {
        panic!("as expected");
    }

    #[test]
    fn returns_an_error() -> Result<(), String> {
        Err("it did not work".into())
    }
}
