//! The picture of a call in the terminal: one column a party, one row a message.

use std::fmt::Write as _;

/// Width of the time column.
const TIME: usize = 9;
/// Distance between two parties.
const STEP: usize = 16;

/// How a row is coloured, where colours are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tint {
    /// As the terminal has it.
    Plain,
    /// Something went well.
    Good,
    /// Something was ended or refused.
    Bad,
    /// Less important.
    Faint,
}

/// Columns and colours.
#[derive(Debug, Clone)]
pub struct Ladder {
    parties: Vec<String>,
    colours: bool,
}

impl Ladder {
    /// One column for each party, from the left.
    pub fn new(parties: &[&str], colours: bool) -> Self {
        Ladder { parties: parties.iter().map(|party| (*party).to_owned()).collect(), colours }
    }

    /// The line with the names.
    pub fn head(&self) -> String {
        let mut line = " ".repeat(TIME + STEP * self.parties.len());
        for (index, party) in self.parties.iter().enumerate() {
            let start = (TIME + index * STEP + 1).saturating_sub(party.chars().count() / 2);
            line = overlay(&line, start, party);
        }
        line.trim_end().to_owned()
    }

    /// A row: an arrow from one party to another with its label, and a remark behind the last column.
    pub fn row(&self, seconds: f64, from: &str, to: &str, label: &str, remark: &str, tint: Tint) -> String {
        let place = |party: &str| self.parties.iter().position(|known| known == party);
        let (Some(from), Some(to)) = (place(from), place(to)) else { return String::new() };
        let mut cells: Vec<char> = vec![' '; TIME + STEP * self.parties.len()];
        let column = |party: usize| TIME + party * STEP + 1;
        for party in 0..self.parties.len() {
            set(&mut cells, column(party), '│');
        }
        let (left, right) = (column(from.min(to)), column(from.max(to)));
        for cell in left + 1..right {
            set(&mut cells, cell, '─');
        }
        if from < to {
            set(&mut cells, right - 1, '▶');
        } else {
            set(&mut cells, left + 1, '◀');
        }
        let room = (right - left).saturating_sub(5);
        let label: String = label.chars().take(room).collect();
        let start = left + (right - left).saturating_sub(label.chars().count()) / 2 + 1;
        for (index, character) in label.chars().enumerate() {
            set(&mut cells, start + index, character);
        }
        let drawn: String = cells.into_iter().skip(TIME).collect();
        let mut line = format!("{seconds:>6.3} s ");
        let _ = write!(line, "{}", self.tinted(drawn.trim_end(), tint));
        if !remark.is_empty() {
            let _ = write!(line, "  {}", self.tinted(remark, Tint::Faint));
        }
        line
    }

    fn tinted(&self, text: &str, tint: Tint) -> String {
        let code = match tint {
            _ if !self.colours => return text.to_owned(),
            Tint::Plain => return text.to_owned(),
            Tint::Good => "32",
            Tint::Bad => "31",
            Tint::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

fn set(cells: &mut [char], place: usize, character: char) {
    if let Some(cell) = cells.get_mut(place) {
        *cell = character;
    }
}

fn overlay(line: &str, start: usize, text: &str) -> String {
    let mut cells: Vec<char> = line.chars().collect();
    for (index, character) in text.chars().enumerate() {
        set(&mut cells, start + index, character);
    }
    cells.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_from_sender_to_receiver() {
        let ladder = Ladder::new(&["alice", "ringfork", "bob"], false);
        let column = |line: &str, wanted: char| line.chars().position(|found| found == wanted).unwrap();
        assert!(ladder.head().starts_with("        alice") && ladder.head().ends_with("bob"));
        let row = ladder.row(0.5, "alice", "ringfork", "INVITE", "", Tint::Good);
        assert!(row.starts_with(" 0.500 s  │") && row.contains("INVITE") && row.contains('▶'), "{row}");
        assert_eq!(column(&row, '▶') + 1, 10 + STEP);
        let row = ladder.row(1.25, "bob", "ringfork", "180 Ringing", "a remark", Tint::Plain);
        assert!(row.contains("180 Ringing") && row.ends_with("a remark"), "{row}");
        assert_eq!(column(&row, '◀'), 10 + STEP + 1);
        assert_eq!(ladder.row(0.0, "nobody", "bob", "x", "", Tint::Plain), "");
    }
}
