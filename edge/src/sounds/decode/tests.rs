//! Files of every kind that RCML.md part 2 names for Play, whole and damaged.

use ringfork_media::g711::Law;

use super::super::pipe::pipe;
use super::super::testing::{octets, share, tone, wav};
use super::*;

/// All samples of a file.
fn read(file: Vec<u8>) -> Result<Vec<i16>, PlayError> {
    let mut samples = Vec::new();
    decode(Box::new(io::Cursor::new(file)), None, &mut |chunk| {
        samples.extend(chunk);
        true
    })
    .map(|()| samples)
}

fn is_tone(samples: &[i16], hertz: f64, length: usize) {
    assert!(samples.len().abs_diff(length) <= 2, "{} samples, not {length}", samples.len());
    let share = share(&samples[500..samples.len() - 500], hertz);
    assert!(share > 0.98, "{share} of it at {hertz} Hz");
}

#[test]
fn wav_of_a_line_is_read_bit_by_bit() {
    let samples: Vec<i16> = (0..4000).map(|n| (n * 37 % 65_536 - 32_768) as i16).collect();
    assert_eq!(read(wav(1, 1, 8000, 16, &octets(&samples))).unwrap(), samples);
}

#[test]
fn wav_of_other_widths_and_rates() {
    for rate in [8000, 11_025, 16_000, 44_100, 48_000] {
        let samples = tone(rate, 600.0, rate as usize);
        is_tone(&read(wav(1, 1, rate, 16, &octets(&samples))).unwrap(), 600.0, 8000);
        let wide: Vec<u8> =
            samples.iter().flat_map(|sample| [0, sample.to_le_bytes()[0], sample.to_le_bytes()[1]]).collect();
        is_tone(&read(wav(1, 1, rate, 24, &wide)).unwrap(), 600.0, 8000);
        let narrow: Vec<u8> = samples.iter().map(|sample| (sample / 256 + 128) as u8).collect();
        is_tone(&read(wav(1, 1, rate, 8, &narrow)).unwrap(), 600.0, 8000);
    }
}

/// Both channels are heard, each at half.
#[test]
fn stereo_is_mixed() {
    let (left, right) = (tone(16_000, 500.0, 16_000), tone(16_000, 1100.0, 16_000));
    let both: Vec<i16> = left.iter().zip(&right).flat_map(|(left, right)| [*left, *right]).collect();
    let samples = read(wav(1, 2, 16_000, 16, &octets(&both))).unwrap();
    for hertz in [500.0, 1100.0] {
        let share = share(&samples[500..7500], hertz);
        assert!((0.48..0.52).contains(&share), "{share} of it at {hertz} Hz");
    }
}

/// G.711 in a file is what it is on a line.
#[test]
fn g711_files() {
    for (code, law) in [(7, Law::Mu), (6, Law::A)] {
        let coded: Vec<u8> = (0..=255).cycle().take(2560).collect();
        let expected: Vec<i16> = coded.iter().map(|octet| law.decode(*octet)).collect();
        assert_eq!(read(wav(code, 1, 8000, 8, &coded)).unwrap(), expected, "{law:?}");
        // Many tools leave out the count of further octets; some tell of some.
        let mut short = wav(code, 1, 8000, 8, &coded);
        short.drain(36..38);
        short[16] = 16;
        assert_eq!(read(short).unwrap(), expected, "{law:?}, a format of 16 octets");
        let mut long = wav(code, 1, 8000, 8, &coded);
        long.splice(36..38, [3, 0, 1, 2, 3, 0]);
        long[16] = 21;
        assert_eq!(read(long).unwrap(), expected, "{law:?}, a format of 21 octets");
    }
}

#[test]
fn mp3() {
    // An encoder adds some silence at both ends.
    let samples = read(include_bytes!("../samples/tone.mp3").to_vec()).unwrap();
    assert!((8000..9000).contains(&samples.len()), "{}", samples.len());
    let share = share(&samples[1000..7500], 600.0);
    assert!(share > 0.98, "{share} of it at 600 Hz");
}

/// A writer that streams does not know its length: the sizes are 0, as large as they can be, or those of nothing yet.
#[test]
fn wav_of_unknown_length() {
    let samples = tone(8000, 600.0, 8000);
    let file = wav(1, 1, 8000, 16, &octets(&samples));
    for (outer, size) in
        [(u32::MAX, u32::MAX), (0x7fff_ffff, 0x7fff_ffff), (0x7fff_f024, 0x7fff_f000), (u32::MAX, 0), (0, 0), (36, 0)]
    {
        let mut file = file.clone();
        file[4..8].copy_from_slice(&outer.to_le_bytes());
        file[40..44].copy_from_slice(&size.to_le_bytes());
        is_tone(&read(file.clone()).unwrap(), 600.0, 8000);
        // With chunks before the sound, of even and odd length.
        file.splice(36..36, *b"LIST\x12\0\0\0INFOINAM\x05\0\0\0title\0junk\x05\0\0\0.....\0");
        is_tone(&read(file).unwrap(), 600.0, 8000);
    }
    let mut empty = file[..44].to_vec();
    empty[4..8].copy_from_slice(&62u32.to_le_bytes());
    empty[40..44].fill(0);
    empty.extend(b"LIST\x12\0\0\0INFOINAM\x06\0\0\0title\0");
    assert!(read(empty).is_err(), "what follows an empty sound is none");
}

/// What is cut is heard up to there.
#[test]
fn a_cut_file() {
    let mut file = wav(1, 1, 8000, 16, &octets(&tone(8000, 600.0, 8000)));
    file.truncate(44 + 8000 + 1);
    let heard = read(file).unwrap();
    assert!((3000..=4000).contains(&heard.len()), "{}", heard.len());
}

/// A damaged file is an error with a reason, never a panic and never silence.
#[test]
fn damaged_files() {
    let good = wav(1, 1, 8000, 16, &octets(&tone(8000, 600.0, 800)));
    let text = b"<!DOCTYPE html><html><body>Not Found</body></html>".to_vec();
    for file in [Vec::new(), text, good[..20].to_vec(), good[..44].to_vec(), vec![0; 100_000], vec![0xff; 5000]] {
        let length = file.len();
        let error = read(file).expect_err(&format!("{length} octets"));
        assert!(!error.fetch && !error.reason.is_empty());
    }
    let mut wrong = good.clone();
    wrong[20] = 0x55;
    assert!(read(wrong).is_err(), "another kind of sound");
    let mut rate = good;
    rate[24..28].copy_from_slice(&[0; 4]);
    assert!(read(rate).is_err(), "no rate");
}

/// Whatever a server sends: an end, never a panic.
#[test]
fn every_damage_ends() {
    let mp3 = include_bytes!("../samples/tone.mp3");
    let wav = wav(1, 2, 16_000, 16, &octets(&tone(16_000, 600.0, 2000)));
    let mut seed = 1u64;
    for file in [mp3.as_slice(), &wav] {
        for _ in 0..30 {
            let mut damaged = file.to_vec();
            for _ in 0..4 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let place = (seed >> 33) as usize % damaged.len().min(400);
                damaged[place] = (seed >> 24) as u8;
            }
            let _ = read(damaged);
        }
    }
}

/// The first samples come before the file is there: only the first hundredth of it has arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_decoded_while_it_comes() {
    for file in
        [wav(1, 1, 8000, 16, &octets(&tone(8000, 600.0, 8_000_000))), include_bytes!("../samples/tone.mp3").repeat(100)]
    {
        let (feed, source) = pipe(Some(file.len() as u64));
        let (heard, mut first) = tokio::sync::mpsc::channel(1000);
        let decoder = std::thread::spawn(move || {
            decode(Box::new(source), None, &mut |chunk| heard.blocking_send(chunk.len()).is_ok())
        });
        feed.send(Ok(bytes::Bytes::copy_from_slice(&file[..file.len() / 100]))).await.unwrap();
        assert!(first.recv().await.unwrap() > 0);
        drop((feed, first));
        let _ = decoder.join().unwrap();
    }
}

/// Who has heard enough ends it.
#[test]
fn it_stops_when_nobody_hears_it() {
    let mut chunks = 0;
    let file = wav(1, 1, 8000, 16, &octets(&tone(8000, 600.0, 80_000)));
    decode(Box::new(io::Cursor::new(file)), None, &mut |_| {
        chunks += 1;
        chunks < 3
    })
    .unwrap();
    assert!(chunks <= 4, "{chunks}");
}
