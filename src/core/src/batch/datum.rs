//! Values that own themselves, put into a batch.

use super::{BatchFull, ChangeBatch};
use crate::value::Datum;

impl ChangeBatch {
    /// Next cell: a value that owns itself.
    pub fn push_datum(&mut self, datum: &Datum) -> Result<(), BatchFull> {
        match datum {
            Datum::Null => self.push_null(),
            Datum::Boolean(value) => self.push_boolean(*value),
            Datum::Int(value) => self.push_int(*value),
            Datum::Float32(value) => self.push_float32(*value),
            Datum::Float64(value) => self.push_float64(*value),
            Datum::TimeTz(value) => self.push_time_tz(*value),
            Datum::Interval(value) => self.push_interval(*value)?,
            Datum::Text(value) => self.push_text(value)?,
            Datum::Bytes(value) => self.push_bytes(value)?,
            Datum::List(values) => {
                self.begin_list();
                for value in values {
                    self.push_datum(value)?;
                }
                self.end_list()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::position::{Position, Progress};

    #[test]
    fn what_is_put_in_comes_out() {
        let list = Datum::List(vec![
            Datum::Int(1),
            Datum::Null,
            Datum::List(vec![Datum::Text("a".to_owned())]),
        ]);
        let values = [
            list,
            Datum::Bytes(vec![0, 255]),
            Datum::Boolean(true),
            Datum::Float64(0.5),
            Datum::Null,
        ];
        let mut batch = ChangeBatch::new(Arc::from("test"), Progress::at(Position::new("0")));
        batch.begin_row().unwrap();
        for value in &values {
            batch.push_datum(value).unwrap();
        }
        let row = batch.end_row().unwrap();
        let found: Vec<Datum> = batch.row(row).iter().filter_map(|value| value.to_datum()).collect();
        assert_eq!(found, values);
    }
}
