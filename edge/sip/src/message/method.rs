//! Request methods. Case-sensitive (RFC 3261 §7.1); extension methods are kept, so that they can be answered.

use bytes::Bytes;

use crate::header::scan;

macro_rules! methods {
    ($($name:ident = $text:literal, $rsip:ident;)*) => {
        /// A request method.
        #[derive(Clone, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Method {
            $($name,)*
            /// A method that is not in this list: any token.
            Extension(Extension),
        }

        impl Method {
            /// The method of a token; `None` when it is not a token. Nothing is allocated for the known ones.
            pub fn from_token(token: &[u8]) -> Option<Method> {
                match token {
                    $(token if token == $text.as_bytes() => Some(Method::$name),)*
                    token => scan::is_token(token).then(|| Method::Extension(Extension(Bytes::copy_from_slice(token)))),
                }
            }

            /// As it is printed.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Method::$name => $text,)*
                    // Only tokens, which are ASCII, are ever kept.
                    Method::Extension(Extension(token)) => scan::utf8(token).unwrap_or_default(),
                }
            }

            /// In rsip's vocabulary, which cannot say extension methods.
            pub fn to_rsip(&self) -> Option<rsip::Method> {
                match self {
                    $(Method::$name => Some(rsip::Method::$rsip),)*
                    Method::Extension(_) => None,
                }
            }
        }

        impl From<rsip::Method> for Method {
            fn from(method: rsip::Method) -> Method {
                match method {
                    $(rsip::Method::$rsip => Method::$name,)*
                }
            }
        }
    };
}

// The most frequent first: they are compared in this order.
methods! {
    Register = "REGISTER", Register;
    Invite = "INVITE", Invite;
    Ack = "ACK", Ack;
    Bye = "BYE", Bye;
    Cancel = "CANCEL", Cancel;
    Options = "OPTIONS", Options;
    Prack = "PRACK", PRack;
    Update = "UPDATE", Update;
    Info = "INFO", Info;
    Message = "MESSAGE", Message;
    Notify = "NOTIFY", Notify;
    Publish = "PUBLISH", Publish;
    Refer = "REFER", Refer;
    Subscribe = "SUBSCRIBE", Subscribe;
}

/// The token of an extension method. Made by [`Method::from_token`] only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Extension(Bytes);

impl std::fmt::Debug for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq<rsip::Method> for Method {
    fn eq(&self, other: &rsip::Method) -> bool {
        self.to_rsip().is_some_and(|method| method == *other)
    }
}
