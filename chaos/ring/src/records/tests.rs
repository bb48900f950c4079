use super::*;
use std::collections::BTreeSet;

#[test]
fn each_change_changes_one_task() {
    for changes in 0..40 {
        let (before, after) = (records(3, changes), records(3, changes + 1));
        assert_eq!(before.iter().zip(&after).filter(|(b, a)| b != a).count(), 1, "{changes}");
    }
    assert_eq!(records(3, 0), records(3, 2 * TASKS));
}

#[test]
fn no_task_runs_twice() {
    let tasks: Vec<TaskId> = (0..10_000).flat_map(|index| records(index, 0)).map(|record| record.task).collect();
    assert_eq!(tasks.iter().collect::<BTreeSet<_>>().len(), tasks.len());
}
