use super::FaultKind;
use crate::fault::PartitionShape;

#[test]
fn every_kind_reads_as_it_is_written() {
    for (index, kind) in FaultKind::all().into_iter().enumerate() {
        assert_eq!(kind as usize, index, "`all` is in the order of declaration");
        assert_eq!(kind.to_string().parse(), Ok(kind));
        let json = serde_json::to_string(&kind).unwrap();
        assert_eq!(json, format!("\"{kind}\""));
        assert_eq!(serde_json::from_str::<FaultKind>(&json).unwrap(), kind);
    }
}

#[test]
fn every_shape_reads_as_it_is_written() {
    for shape in PartitionShape::ALL {
        assert_eq!(shape.to_string().parse(), Ok(shape));
        assert_eq!(serde_json::to_string(&shape).unwrap(), format!("\"{shape}\""));
    }
}

#[test]
fn an_unknown_kind_names_those_that_resemble_it() {
    let message = |word: &str| word.parse::<FaultKind>().unwrap_err().to_string();
    assert_eq!(message("kill"), "unknown kind of fault `kill`; expected kill-agent, kill-machine");
    assert_eq!(message("KillAgent"), "unknown kind of fault `KillAgent`; expected kill-agent, kill-machine");
    assert_eq!(message("clock_skew"), "unknown kind of fault `clock_skew`; expected clock-offset, clock-drift");
}

#[test]
fn an_unknown_kind_that_resembles_none_names_all() {
    for word in ["", "earthquake", "ü"] {
        let error = word.parse::<FaultKind>().unwrap_err();
        assert_eq!(error.expected, FaultKind::all().into_iter().map(FaultKind::as_str).collect::<Vec<_>>());
    }
}
