//! Values that are written out in a path.

use serde_json::{Map, Number, Value};

use super::parse::Parser;

impl Parser<'_> {
    /// A text in single or double quotes.
    pub(super) fn quoted(&mut self) -> Result<String, String> {
        let unclosed = || "a quoted text is not closed".to_owned();
        let Some(quote @ ('\'' | '"')) = self.next() else {
            return Err("a quoted text is expected".into());
        };
        let mut text = String::new();
        loop {
            match self.next().ok_or_else(unclosed)? {
                end if end == quote => return Ok(text),
                '\\' => text.push(match self.next().ok_or_else(unclosed)? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => self.code()?,
                    plain => plain,
                }),
                plain => text.push(plain),
            }
        }
    }

    fn code(&mut self) -> Result<char, String> {
        let code: String = (0..4).map_while(|_| self.next()).collect();
        let four = code.len() == 4 && code.chars().all(|digit| digit.is_ascii_hexdigit());
        u32::from_str_radix(&code, 16)
            .ok()
            .filter(|_| four)
            .and_then(char::from_u32)
            .ok_or_else(|| format!("`\\u{code}` is no character"))
    }

    /// A text, number, `true`, `false`, `null`, list or object.
    pub(super) fn literal(&mut self) -> Result<Value, String> {
        self.skip_blanks();
        match self.peek() {
            Some('\'' | '"') => self.quoted().map(Value::String),
            Some('[') => self.inside(Self::list),
            Some('{') => self.inside(Self::object),
            Some('-' | '+' | '0'..='9') => {
                let text = self.take_while(|char| {
                    char.is_ascii_digit() || matches!(char, '-' | '+' | '.' | 'e' | 'E')
                });
                let number = text.parse::<Number>().map_err(|_| format!("`{text}` is no number"));
                number.map(Value::Number)
            }
            _ => match self.take_while(|char| char.is_ascii_alphabetic()) {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                "null" => Ok(Value::Null),
                _ => Err("a value is expected: a path, text in quotes, a number, true, false, \
                          null, a list or an object"
                    .into()),
            },
        }
    }

    fn list(&mut self) -> Result<Value, String> {
        self.next();
        let mut items = Vec::new();
        self.skip_blanks();
        while !self.eat("]") {
            items.push(self.literal()?);
            self.skip_blanks();
            if !self.eat(",") {
                self.expect("]", "a list")?;
                break;
            }
            self.skip_blanks();
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self) -> Result<Value, String> {
        self.next();
        let mut map = Map::new();
        self.skip_blanks();
        while !self.eat("}") {
            let key = self.quoted()?;
            self.expect(":", "a key")?;
            map.insert(key, self.literal()?);
            self.skip_blanks();
            if !self.eat(",") {
                self.expect("}", "an object")?;
                break;
            }
            self.skip_blanks();
        }
        Ok(Value::Object(map))
    }
}
