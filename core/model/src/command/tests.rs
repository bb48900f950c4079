use super::Exit;

#[test]
fn only_status_zero_is_success() {
    assert!(Exit::Code(0).is_success());
    for other in
        [Exit::Code(1), Exit::Signal(0), Exit::NotStarted("x".into()), Exit::OutOfMemory, Exit::Lost, Exit::Deadline]
    {
        assert!(!other.is_success(), "{other}");
    }
}

#[test]
fn the_code_is_what_a_shell_shows() {
    assert_eq!(Exit::Code(3).code(), Some(3));
    assert_eq!(Exit::Signal(9).code(), Some(137));
    assert_eq!(Exit::OutOfMemory.code(), Some(137));
    assert_eq!(Exit::Lost.code(), None);
    assert_eq!(Exit::Signal(i32::MAX).code(), Some(i32::MAX), "a peer's nonsense is no overflow");
}
