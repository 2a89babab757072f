use std::collections::BTreeMap;

use axum::http::HeaderValue;
use tokio::task::yield_now;

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Users with their passwords, at the lowest cost there is.
fn users(passwords: &[(&str, &str)]) -> Users {
    let hash = |(user, password): &(&str, &str)| {
        let hash = bcrypt::hash(password, 4).expect("the cost is right");
        ((*user).to_owned(), hash)
    };
    Users::new(passwords.iter().map(hash).collect::<BTreeMap<_, _>>())
}

fn basic(user: &str, password: &str) -> HeaderMap {
    header(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
}

fn header(value: &str) -> HeaderMap {
    let value = HeaderValue::from_bytes(value.as_bytes()).expect("it can be sent");
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

#[test]
fn only_a_users_own_password_is_right() {
    let users = users(&[("alice", "wonder:land"), ("bob", "bau"), ("ünï", "cödé")]);
    let passwords = Passwords::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it can be built");
    let check = |headers: &HeaderMap| runtime.block_on(passwords.check(&users, headers, HERE));
    for _ in ["first", "remembered"] {
        for (user, password) in [("alice", "wonder:land"), ("bob", "bau"), ("ünï", "cödé")] {
            assert_eq!(check(&basic(user, password)), Verdict::Right, "{user}");
        }
        for (user, password) in
            [("alice", "bau"), ("alice", ""), ("", ""), ("carol", "bau"), ("Alice", "wonder:land")]
        {
            assert_eq!(check(&basic(user, password)), Verdict::Wrong, "{user}:{password}");
        }
    }
    let encoded = BASE64_STANDARD.encode("bob:bau");
    assert_eq!(check(&header(&format!("bAsIc {encoded}"))), Verdict::Right);
    for wrong in [
        "",
        "Basic",
        "Basic ",
        "Basic *",
        "Basic Ym9i",
        &format!("Bearer {encoded}"),
        "Basic /////w==",
    ] {
        assert_eq!(check(&header(wrong)), Verdict::Wrong, "{wrong}");
    }
    assert_eq!(check(&HeaderMap::new()), Verdict::Wrong);
}

#[tokio::test]
async fn a_changed_hash_makes_the_former_password_wrong_at_once() {
    let passwords = Passwords::new();
    let former = users(&[("alice", "former")]);
    let now = users(&[("alice", "new")]);
    let headers = basic("alice", "former");
    assert_eq!(passwords.check(&former, &headers, HERE).await, Verdict::Right);
    assert_eq!(passwords.check(&now, &headers, HERE).await, Verdict::Wrong);
    let gone = users(&[("bob", "former")]);
    assert_eq!(passwords.check(&gone, &headers, HERE).await, Verdict::Wrong);
}

#[tokio::test]
async fn results_are_remembered_but_not_without_end_and_never_as_passwords() {
    let passwords = Passwords::new();
    let users = users(&[("alice", "right")]);
    let right = basic("alice", "right");
    assert_eq!(passwords.check(&users, &right, HERE).await, Verdict::Right);
    for number in 0..MAX_CACHED + 10 {
        let wrong = basic("alice", &format!("wrong {number}"));
        assert_eq!(passwords.check(&users, &wrong, HERE).await, Verdict::Wrong);
    }
    {
        let cache = passwords.cache.lock();
        assert_eq!((cache.right.len(), cache.wrong.len()), (1, MAX_CACHED));
        let is_text = |cache_key: &CacheKey| {
            cache_key.len() != 32 || cache_key.windows(5).any(|part| part == b"right")
        };
        assert!(!cache.right.iter().chain(&cache.wrong).any(is_text));
    }
    // Nothing can be checked any more, so what is cached comes from memory.
    passwords.permits.close();
    assert_eq!(passwords.check(&users, &right, HERE).await, Verdict::Right);
}

#[tokio::test]
async fn a_client_that_guesses_passwords_delays_nobody_else() {
    let passwords = Arc::new(Passwords::new());
    let users = Arc::new(users(&[("alice", "right")]));
    let everything = Arc::clone(&passwords.permits).acquire_many_owned(AT_ONCE as u32).await;
    let check = |password: String, from: IpAddr| {
        let (passwords, users) = (Arc::clone(&passwords), Arc::clone(&users));
        async move { passwords.check(&users, &basic("alice", &password), from).await }
    };
    let guesses: Vec<_> = (0..MAX_PENDING_PER_ADDRESS)
        .map(|number| tokio::spawn(check(format!("guess {number}"), HERE)))
        .collect();
    while passwords.pending.lock().get(&HERE) != Some(&MAX_PENDING_PER_ADDRESS) {
        yield_now().await;
    }
    assert_eq!(check("guess".into(), HERE).await, Verdict::Busy);
    let other = tokio::spawn(check("right".into(), [192, 0, 2, 1].into()));
    drop(everything);
    assert_eq!(other.await.expect("no panic"), Verdict::Right);
    for guess in guesses {
        assert_eq!(guess.await.expect("no panic"), Verdict::Wrong);
    }
    assert!(passwords.pending.lock().is_empty());
    assert_eq!(check("right".into(), HERE).await, Verdict::Right);
}

#[tokio::test]
async fn many_addresses_that_guess_are_refused_at_once_but_a_cached_password_is_right() {
    let passwords = Passwords::new();
    let users = users(&[("alice", "right")]);
    assert_eq!(passwords.check(&users, &basic("alice", "right"), HERE).await, Verdict::Right);
    let _everything = Arc::clone(&passwords.permits).acquire_many_owned(AT_ONCE as u32).await;
    let guess = basic("alice", "guess");
    let mut guesses: Vec<_> = (0..MAX_PENDING as u8)
        .map(|address| Box::pin(passwords.check(&users, &guess, [192, 0, 2, address].into())))
        .collect();
    for guess in &mut guesses {
        assert!(futures::poll!(guess).is_pending());
    }
    assert_eq!(passwords.check(&users, &guess, HERE).await, Verdict::Busy);
    assert_eq!(passwords.check(&users, &basic("alice", "right"), HERE).await, Verdict::Right);
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_back() {
    let passwords = Arc::new(Passwords::new());
    let users = users(&[("alice", "right")]);
    let everything = Arc::clone(&passwords.permits).acquire_many_owned(AT_ONCE as u32).await;
    let headers = basic("alice", "right");
    let check = passwords.check(&users, &headers, HERE);
    assert!(futures::poll!(std::pin::pin!(check)).is_pending());
    assert!(passwords.pending.lock().is_empty());
    drop(everything);
    assert_eq!(passwords.check(&users, &headers, HERE).await, Verdict::Right);
}
