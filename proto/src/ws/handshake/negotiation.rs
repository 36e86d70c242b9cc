//! Which of the extensions that both sides know are in use.

use super::{Extension, NO_MASKING, PERMESSAGE_DEFLATE, ResponseError};
use crate::ws::Extensions;

impl Extensions {
    /// What a client offers, the preferred one first.
    pub(super) fn offer(&self, secure: bool) -> Vec<Extension> {
        let deflate = self.deflate.map(|deflate| deflate.offer());
        let no_masking = (self.no_masking && secure).then(|| Extension::new(NO_MASKING));
        deflate.into_iter().chain(no_masking).collect()
    }

    /// A server's answer, and what is in use then: of each extension the client's first offer that can be met, as the
    /// order is that of preference (RFC 6455 §9.1).
    pub(super) fn accept(&self, offers: &[Extension], secure: bool) -> (Self, Vec<Extension>) {
        let mut in_use = Self::default();
        let mut answers = Vec::new();
        for offer in offers {
            match (offer.name.as_str(), self.deflate) {
                (PERMESSAGE_DEFLATE, Some(deflate)) if in_use.deflate.is_none() => {
                    if let Some((deflate, answer)) = deflate.accept(offer) {
                        in_use.deflate = Some(deflate);
                        answers.push(answer);
                    }
                }
                (NO_MASKING, _) if self.no_masking && secure && !in_use.no_masking && offer.parameters.is_empty() => {
                    in_use.no_masking = true;
                    answers.push(Extension::new(NO_MASKING));
                }
                _ => {}
            }
        }
        (in_use, answers)
    }

    /// What is in use by a server's answer to our [`offer`](Self::offer): RFC 6455 §4.1 lets it name nothing else.
    pub(super) fn check(&self, answers: &[Extension], secure: bool) -> Result<Self, ResponseError> {
        let mut in_use = Self::default();
        for answer in answers {
            match (answer.name.as_str(), self.deflate) {
                (PERMESSAGE_DEFLATE, Some(deflate)) if in_use.deflate.is_none() => {
                    in_use.deflate = Some(deflate.check(answer).ok_or(ResponseError::ExtensionParameters)?);
                }
                (NO_MASKING, _) if self.no_masking && secure && !in_use.no_masking => {
                    if !answer.parameters.is_empty() {
                        return Err(ResponseError::ExtensionParameters);
                    }
                    in_use.no_masking = true;
                }
                _ => return Err(ResponseError::Extensions),
            }
        }
        Ok(in_use)
    }
}
