//! WAV and MP3 to samples of a line, while the file comes. It blocks: it runs on a thread of its own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ringfork_call::action::PlayError;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::common::Limit;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;

use self::head::Mended;
use super::resample::Resampler;
use super::unreadable;

mod head;

/// Samples of a chunk that is given on: 200 ms.
const CHUNK: usize = 1600;
/// Bytes of a tag in a file (a title, a cover) that are read at most.
const TAG: usize = 64 * 1024;
/// Packets in a row that cannot be decoded, after which the file is damaged.
const BAD_PACKETS: usize = 50;
/// Sampling rates that are read, Hz.
const RATES: std::ops::RangeInclusive<u32> = 1000..=384_000;

/// Decodes until the end, or until `give` returns false.
///
/// # Errors
/// When the file is damaged, or is neither WAV nor MP3; what was decoded before has been given.
pub fn decode(
    source: Box<dyn MediaSource>,
    media_type: Option<&str>,
    give: &mut dyn FnMut(Vec<i16>) -> bool,
) -> Result<(), PlayError> {
    // What a stranger sends may meet a fault of the decoder: that ends this sound and nothing else.
    let caught = catch_unwind(AssertUnwindSafe(|| decode_any(source, media_type, give)));
    caught.unwrap_or_else(|_| Err(unreadable("the file is damaged: the decoder broke down on it")))
}

fn decode_any(
    source: Box<dyn MediaSource>,
    media_type: Option<&str>,
    give: &mut dyn FnMut(Vec<i16>) -> bool,
) -> Result<(), PlayError> {
    let source = Mended::new(source).map_err(|error| unreadable(error.to_string()))?;
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    let mut hint = Hint::new();
    if let Some(media_type) = media_type {
        hint.mime_type(media_type);
    }
    let tags = MetadataOptions::default().limit_tag_bytes(Limit::Maximum(TAG)).limit_visual_bytes(Limit::Maximum(TAG));
    let probe = symphonia::default::get_probe();
    let mut format = probe.probe(&hint, stream, FormatOptions::default(), tags).map_err(|error| {
        let kind = media_type.map(|kind| format!(" ({kind})")).unwrap_or_default();
        match error {
            Error::DecodeError(what) => unreadable(format!("the file is damaged{kind}: {what}")),
            Error::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => unreadable(error.to_string()),
            _ => unreadable(format!("neither WAV nor MP3{kind}: give a file in one of these forms")),
        }
    })?;
    let mut out = Output { resampler: None, waiting: Vec::with_capacity(CHUNK), any: false };
    let outcome = run(&mut *format, &mut out, give);
    if let Some((_, resampler)) = &mut out.resampler {
        resampler.finish(&mut out.waiting);
    }
    if !out.waiting.is_empty() {
        out.any = true;
        let rest = std::mem::take(&mut out.waiting);
        give(rest);
    }
    match outcome {
        Ok(()) if !out.any => Err(unreadable("the file holds no sound")),
        outcome => outcome,
    }
}

struct Output {
    /// The rate, and what changes it.
    resampler: Option<(u32, Resampler)>,
    waiting: Vec<i16>,
    any: bool,
}

fn run(
    format: &mut dyn FormatReader,
    out: &mut Output,
    give: &mut dyn FnMut(Vec<i16>) -> bool,
) -> Result<(), PlayError> {
    let track = format.default_track(TrackType::Audio);
    let track = track.ok_or_else(|| unreadable("the file holds no sound"))?;
    let id = track.id;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let parameters = parameters.ok_or_else(|| unreadable("the file holds no sound"))?;
    let unknown =
        |error| unreadable(format!("a kind of sound that is not read ({error}): give WAV (PCM, G.711) or MP3"));
    let decoders = symphonia::default::get_codecs();
    let mut decoder = decoders.make_audio_decoder(parameters, &AudioDecoderOptions::default()).map_err(unknown)?;
    let mut samples: Vec<f32> = Vec::new();
    let mut mono: Vec<f32> = Vec::new();
    let mut bad = 0;
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(()),
            // The last packet is cut, as when a recorder was killed: what is there is heard.
            Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(unreadable(format!("the file is damaged: {error}"))),
        };
        if packet.track_id != id {
            continue;
        }
        let decoded = match decoder.decode(&packet) {
            Ok(decoded) => decoded,
            Err(Error::DecodeError(_)) if bad < BAD_PACKETS => {
                bad += 1;
                continue;
            }
            Err(error) => return Err(unreadable(format!("the file is damaged: {error}"))),
        };
        bad = 0;
        let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
        if !RATES.contains(&rate) || channels == 0 {
            return Err(unreadable(format!("the file has {channels} channels at {rate} Hz, which is not read")));
        }
        decoded.copy_to_vec_interleaved(&mut samples);
        mono.clear();
        let share = 1.0 / channels as f32;
        mono.extend(samples.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * share));
        if out.resampler.as_ref().is_none_or(|(known, _)| *known != rate) {
            out.resampler = Some((rate, Resampler::new(rate)));
        }
        if let Some((_, resampler)) = &mut out.resampler {
            resampler.push(&mono, &mut out.waiting);
        }
        // The first samples go at once, however few.
        if out.waiting.len() >= CHUNK || !out.any && !out.waiting.is_empty() {
            out.any = true;
            if !give(std::mem::replace(&mut out.waiting, Vec::with_capacity(CHUNK))) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
