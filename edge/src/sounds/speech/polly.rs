//! Amazon Polly: the voice of a deployment, by its own HTTP API (SynthesizeSpeech, raw samples at 8 kHz).

use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_polly::Client;
use aws_sdk_polly::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_polly::types::{Engine, LanguageCode, OutputFormat, TextType, VoiceId};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use ringfork_call::action::PlayError;
use ringfork_call::control::Voices;

use super::super::unreadable;
use super::{Speech, Utterance};

/// Characters of one request: the service takes 3000.
const PART: usize = 2800;

/// The voices that are men's or boys', by the service's list.
const MEN: [&str; 34] = [
    "Adriano",
    "Andres",
    "Arthur",
    "Brian",
    "Cristiano",
    "Daniel",
    "Enrique",
    "Florian",
    "Geraint",
    "Giorgio",
    "Gregory",
    "Hans",
    "Jacek",
    "Jan",
    "Joey",
    "Justin",
    "Karl",
    "Kevin",
    "Liam",
    "Mads",
    "Mathieu",
    "Matthew",
    "Maxim",
    "Miguel",
    "Pedro",
    "Remi",
    "Ricardo",
    "Ruben",
    "Russell",
    "Sergio",
    "Stephen",
    "Takumi",
    "Thiago",
    "Zayd",
];

/// Speaks with Polly.
pub struct Polly {
    client: Client,
}

/// Patience with the service: a caller listens to silence meanwhile.
fn patience() -> (RetryConfig, TimeoutConfig) {
    let retry = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(100));
    let timeout = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(20))
        .build();
    (retry, timeout)
}

impl Polly {
    /// Configured by the environment: region, role, `AWS_ENDPOINT_URL_POLLY`.
    pub async fn from_environment() -> Self {
        let (retry, timeout) = patience();
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(retry)
            .timeout_config(timeout)
            .load()
            .await;
        Self { client: Client::new(&config) }
    }
}

/// A voice that speaks the language; what is written as a voice wins.
fn voice(utterance: &Utterance) -> (VoiceId, Engine) {
    let asked = utterance.voice.as_deref().map(str::trim).unwrap_or_default();
    let (name, engine) = named(asked);
    match known(name) {
        Some(voice) => (voice.into(), engine),
        None => own_voice(&utterance.language, name),
    }
}

/// `Polly.Joanna-Neural` is how TwiML writes it.
fn named(asked: &str) -> (&str, Engine) {
    let name = asked.strip_prefix("Polly.").unwrap_or(asked);
    match name.strip_suffix("-Neural") {
        Some(name) => (name, Engine::Neural),
        None => (name, Engine::Standard),
    }
}

fn known(name: &str) -> Option<&'static str> {
    VoiceId::values().iter().copied().find(|known| known.eq_ignore_ascii_case(name))
}

/// Whether it is the name of a voice of Polly's that is a woman's.
pub(super) fn is_woman(asked: &str) -> bool {
    known(named(asked).0).is_some_and(|name| !MEN.contains(&name))
}

/// The language's own: of the standard engine, where it has one there. Restcomm's codes are known as well.
fn own_voice(language: &str, name: &str) -> (VoiceId, Engine) {
    let man = matches!(name.to_ascii_lowercase().as_str(), "man" | "male");
    let language = language.trim().to_ascii_lowercase().replace('_', "-");
    let neural = match language.split('-').next().unwrap_or_default() {
        "ca" => Some(VoiceId::Arlet),
        "cs" => Some(VoiceId::Jitka),
        "fi" => Some(VoiceId::Suvi),
        _ => None,
    };
    if let Some(voice) = neural {
        return (voice, Engine::Neural);
    }
    let (woman, other) = match language.as_str() {
        "en-gb" => (VoiceId::Amy, VoiceId::Brian),
        "en-au" => (VoiceId::Nicole, VoiceId::Russell),
        "pt-pt" => (VoiceId::Ines, VoiceId::Cristiano),
        "es-mx" => (VoiceId::Mia, VoiceId::Mia),
        "es-us" => (VoiceId::Lupe, VoiceId::Miguel),
        "fr-ca" | "cf" => (VoiceId::Chantal, VoiceId::Mathieu),
        other => match other.split('-').next().unwrap_or_default() {
            "de" => (VoiceId::Vicki, VoiceId::Hans),
            "fr" | "bf" => (VoiceId::Celine, VoiceId::Mathieu),
            "es" => (VoiceId::Lucia, VoiceId::Enrique),
            "it" => (VoiceId::Carla, VoiceId::Giorgio),
            "nl" => (VoiceId::Lotte, VoiceId::Ruben),
            "pl" => (VoiceId::Ewa, VoiceId::Jacek),
            "pt" | "bp" => (VoiceId::Vitoria, VoiceId::Ricardo),
            "sv" => (VoiceId::Astrid, VoiceId::Astrid),
            "da" | "dan" => (VoiceId::Naja, VoiceId::Mads),
            "nb" | "no" => (VoiceId::Liv, VoiceId::Liv),
            "tr" => (VoiceId::Filiz, VoiceId::Filiz),
            "ru" => (VoiceId::Tatyana, VoiceId::Maxim),
            "ja" => (VoiceId::Mizuki, VoiceId::Takumi),
            "ko" => (VoiceId::Seoyeon, VoiceId::Seoyeon),
            "cmn" | "zh" => (VoiceId::Zhiyu, VoiceId::Zhiyu),
            "ro" => (VoiceId::Carmen, VoiceId::Carmen),
            "cy" => (VoiceId::Gwyneth, VoiceId::Gwyneth),
            "ar" | "arb" => (VoiceId::Zeina, VoiceId::Zeina),
            "is" => (VoiceId::Dora, VoiceId::Karl),
            _ => (VoiceId::Joanna, VoiceId::Matthew),
        },
    };
    (if man { other } else { woman }, Engine::Standard)
}

/// The text in parts that the service takes, cut behind a sentence or a word where there is one.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while let Some((end, _)) = rest.char_indices().nth(PART) {
        let head = rest.get(..end).unwrap_or(rest);
        let sentence = head.rfind(['.', '!', '?', '\n']).map(|at| at + 1).filter(|at| *at > PART / 2);
        let cut = sentence.or_else(|| head.rfind(' ')).filter(|at| *at > 0).unwrap_or(end);
        let (part, left) = rest.split_at_checked(cut).unwrap_or((rest, ""));
        parts.push(part);
        rest = left.trim_start();
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

#[async_trait]
impl Speech for Polly {
    fn name(&self) -> &str {
        "polly"
    }

    fn voices(&self) -> Voices {
        Voices::Polly(VoiceId::values())
    }

    async fn speak(&self, utterance: &Utterance) -> Result<Vec<i16>, PlayError> {
        let (voice, engine) = voice(utterance);
        // A voice of two languages is told which; a language that the service does not know is the voice's matter.
        let language = LanguageCode::try_parse(utterance.language.trim()).ok();
        let mut samples = Vec::new();
        for part in parts(&utterance.text) {
            let request = self.client.synthesize_speech().engine(engine.clone()).voice_id(voice.clone());
            let request = request.output_format(OutputFormat::Pcm).sample_rate("8000").text_type(TextType::Text);
            let answer = request.set_language_code(language.clone()).text(part).send().await;
            let answer = answer.map_err(|error| {
                let said = error.message().map(str::to_owned);
                unreadable(format!("Polly: {}", said.unwrap_or_else(|| DisplayErrorContext(&error).to_string())))
            })?;
            let sound = answer.audio_stream.collect().await;
            let sound = sound.map_err(|error| unreadable(format!("Polly's answer broke off: {error}")))?.to_vec();
            samples.extend(sound.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)));
        }
        if samples.is_empty() { Err(unreadable("Polly sent no sound")) } else { Ok(samples) }
    }
}

#[cfg(test)]
mod tests;
