//! Where a server is, and who asks.

use zeroize::Zeroizing;

use super::super::error::SqlError;

/// The port that it has unless told otherwise.
const PORT: u16 = 1433;

/// Where a server is, and who asks.
#[derive(Clone)]
#[cfg_attr(not(feature = "mssql"), allow(dead_code, reason = "a session reads it"))]
pub struct Server {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<Zeroizing<String>>,
    pub(super) database: String,
    shown: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Server {
    pub(in crate::sql) fn parse(url: &str, secret: bool) -> Result<Self, SqlError> {
        let refuse = |why: &str| SqlError::Refused(why.to_owned());
        // What is wrong with it may be in the password: it is not repeated.
        let none = || refuse("that is no URL of SQL Server: mssql://USER@HOST[:PORT]/DATABASE[?encrypt=disable]");
        let rest = url.strip_prefix("mssql://").ok_or_else(none)?;
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (who, rest) = rest.rsplit_once('@').ok_or_else(none)?;
        let (place, database) = rest.split_once('/').ok_or_else(none)?;
        let (user, password) = who.split_once(':').map_or((who, None), |(user, password)| (user, Some(password)));
        let (user, database) = (decoded(user).ok_or_else(none)?, decoded(database).ok_or_else(none)?);
        let password = password.map(|text| decoded(text).map(Zeroizing::new).ok_or_else(none)).transpose()?;
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port),
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| none())?,
            None if port.is_empty() => PORT,
            None => return Err(none()),
        };
        if user.is_empty() || host.is_empty() || database.is_empty() || database.contains('/') {
            return Err(none());
        }
        if password.is_some() && !secret {
            return Err(refuse(
                "a password in an argument is seen by all who list processes: it belongs into LARDER_SQL_PASSWORD, SQLCMDPASSWORD, \
                 the file of --sql-password-file, or the whole URL into LARDER_SQL",
            ));
        }
        let mut in_clear = false;
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("encrypt", "disable")) => in_clear = true,
                Some(("encrypt", _)) => {
                    return Err(refuse("Larder speaks no TLS with databases, and encrypt= asks for it"));
                }
                _ => return Err(none()),
            }
        }
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback());
        if !local && !in_clear {
            return Err(refuse(
                "Larder speaks no TLS with databases: reach the server through a tunnel that ends on this machine, \
                 or say ?encrypt=disable if nobody listens on the way",
            ));
        }
        let shown = format!("mssql://{user}@{place}/{database}");
        Ok(Self { host: host.to_owned(), port, user, password, database, shown })
    }

    pub(in crate::sql) fn set_password(&mut self, password: &[u8]) {
        // It goes over the wire as UTF-16: one that is no text is nobody's.
        self.password.get_or_insert_with(|| Zeroizing::new(String::from_utf8_lossy(password).into_owned()));
    }

    pub(in crate::sql) fn shown(&self) -> &str {
        &self.shown
    }
}

/// Without percent-encoding; nothing if that does not give a text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let (digits, behind) = behind.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    let text = std::str::from_utf8(&bytes).ok()?;
    (!text.contains('\0')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says() {
        let url = "mssql://ann%40corp:p%3Aw%2F%C3%A9@[::1]:14330/my%20lake?encrypt=disable";
        let server = Server::parse(url, true).unwrap();
        assert_eq!((server.host.as_str(), server.port), ("::1", 14330));
        assert_eq!((server.user.as_str(), server.database.as_str()), ("ann@corp", "my lake"));
        assert_eq!(server.password.as_ref().map(|text| text.as_str()), Some("p:w/é"));
        assert_eq!(format!("{server:?}"), "mssql://ann@corp@[::1]:14330/my lake");
        let mut server = Server::parse("mssql://sa@localhost/lake", false).unwrap();
        assert_eq!((server.port, server.shown()), (1433, "mssql://sa@localhost/lake"));
        server.set_password(b"first");
        server.set_password(b"second");
        assert_eq!(server.password.as_ref().map(|text| text.as_str()), Some("first"));
    }

    #[test]
    fn what_goes_over_the_wire_in_clear() {
        for (url, taken) in [
            ("mssql://a@localhost/d", true),
            ("mssql://a@127.0.0.1:1/d", true),
            ("mssql://a@[::1]/d", true),
            ("mssql://a@db.example/d", false),
            ("mssql://a@db.example/d?encrypt=disable", true),
            ("mssql://a@localhost/d?encrypt=true", false),
            ("mssql://a@127.0.0.1.example/d", false),
        ] {
            assert_eq!(Server::parse(url, false).is_ok(), taken, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_not_repeated() {
        for url in [
            "mssql://",
            "mssql://localhost/hunter2",
            "mssql://a:hunter2@localhost",
            "mssql://a:hunter2@localhost/",
            "mssql://a:hunter2@localhost:x/d",
            "mssql://a:hunter2@localhost:70000/d",
            "mssql://a:hunter2@[::1/d",
            "mssql://a:hunter2@[::1]1/d",
            "mssql://:hunter2@localhost/d",
            "mssql://a:hunter2%@localhost/d",
            "mssql://a:hunter2%zz@localhost/d",
            "mssql://a:hunter2%+1@localhost/d",
            "mssql://a:hunter2%ff@localhost/d",
            "mssql://a:hunter2@localhost/d/e",
            "mssql://a:hunter2@localhost/d?password=hunter2",
        ] {
            let refused = Server::parse(url, true).unwrap_err().to_string();
            assert!(!refused.contains("hunter2") && refused.contains("mssql://USER@HOST"), "{url}: {refused}");
        }
        let refused = Server::parse("mssql://a:hunter2@localhost/d", false).unwrap_err().to_string();
        assert!(refused.contains("SQLCMDPASSWORD") && !refused.contains("hunter2"), "{refused}");
    }
}
