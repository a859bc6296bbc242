//! Text negotiation in full-feature phase (RFC 7143, 6.2 and Appendix C).
//!
//! Little can be said here: SendTargets, which in a normal session may only ask for the session's own
//! target, and a new MaxRecvDataSegmentLength of the initiator.

use std::fmt::Write;

use super::parameters::SessionParameters;

/// What a text request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The key=value pairs to send, each ended by a zero byte.
    pub text: String,
    /// The initiator's new MaxRecvDataSegmentLength.
    pub max_send_segment_bytes: Option<u32>,
}

/// Answers a whole request. `None` where it is no list of key=value pairs.
pub fn answer(request: &[u8], parameters: &SessionParameters) -> Option<Answer> {
    let mut answer = Answer { text: String::new(), max_send_segment_bytes: None };
    let request = std::str::from_utf8(request).ok()?;
    for pair in request.split('\0').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        match key {
            "SendTargets" => send_targets(value, parameters, &mut answer.text),
            "MaxRecvDataSegmentLength" => match value.parse() {
                Ok(length @ 512..=0xFF_FFFF) => {
                    answer.max_send_segment_bytes = Some(length);
                    let ours = parameters.max_receive_segment_bytes;
                    push(&mut answer.text, key, &ours.to_string());
                }
                _ => push(&mut answer.text, key, "Reject"),
            },
            _ if LOGIN_ONLY.contains(&key) => push(&mut answer.text, key, "Reject"),
            _ => push(&mut answer.text, key, "NotUnderstood"),
        }
    }
    Some(answer)
}

/// Keys that are understood, but only while logging in.
const LOGIN_ONLY: [&str; 17] = [
    "AuthMethod",
    "DataDigest",
    "DataPDUInOrder",
    "DataSequenceInOrder",
    "DefaultTime2Retain",
    "DefaultTime2Wait",
    "ErrorRecoveryLevel",
    "FirstBurstLength",
    "HeaderDigest",
    "ImmediateData",
    "InitialR2T",
    "InitiatorName",
    "MaxBurstLength",
    "MaxConnections",
    "MaxOutstandingR2T",
    "SessionType",
    "TargetName",
];

/// Appendix C: in a normal session, nothing or the target's own name asks for this target; a list of
/// all targets belongs to a discovery session.
fn send_targets(value: &str, parameters: &SessionParameters, text: &mut String) {
    if value.is_empty() || value.eq_ignore_ascii_case(&parameters.target_name) {
        push(text, "TargetName", &parameters.target_name);
        let (address, tag) = (&parameters.target_address, parameters.portal_group_tag);
        push(text, "TargetAddress", &format!("{address},{tag}"));
    } else {
        push(text, "SendTargets", "Reject");
    }
}

fn push(text: &mut String, key: &str, value: &str) {
    write!(text, "{key}={value}\0").expect("a String takes what is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(request: &str) -> Option<String> {
        let parameters = SessionParameters {
            target_name: "iqn.2026-11.org.example:disk".into(),
            target_address: "192.0.2.1:3260".into(),
            portal_group_tag: 7,
            max_receive_segment_bytes: 262_144,
            ..SessionParameters::default()
        };
        answer(request.as_bytes(), &parameters).map(|answer| answer.text)
    }

    #[test]
    fn answers() {
        let own = "TargetName=iqn.2026-11.org.example:disk\0TargetAddress=192.0.2.1:3260,7\0";
        let table = [
            ("", Some("")),
            ("SendTargets=\0", Some(own)),
            ("SendTargets=iqn.2026-11.org.example:disk\0", Some(own)),
            ("SendTargets=All\0", Some("SendTargets=Reject\0")),
            (
                "MaxRecvDataSegmentLength=512\0X-a=b\0",
                Some("MaxRecvDataSegmentLength=262144\0X-a=NotUnderstood\0"),
            ),
            ("MaxRecvDataSegmentLength=511\0", Some("MaxRecvDataSegmentLength=Reject\0")),
            ("InitialR2T=No\0", Some("InitialR2T=Reject\0")),
            ("SendTargets\0", None),
        ];
        for (request, wanted) in table {
            assert_eq!(text_of(request).as_deref(), wanted, "{request:?}");
        }
        assert_eq!(answer(&[0xFF, b'='], &SessionParameters::default()), None);
    }
}
