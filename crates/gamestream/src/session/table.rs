//! The table of sessions and its transitions.

use super::state::{Connection, Origin, Session, State};
use super::{AppRun, ClientId, Effect, SessionId, StopReason, StreamKind};
use crate::Time;
use crate::api::ApiError;
use crate::applist::AppId;
use crate::control::Termination;
use crate::launch::LaunchRequest;
use crate::ping::PingPayload;
use crate::sdp::{ClientFeatures, StreamParameters};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Each step of a connection's start must follow the one before within this time (protocol text §10.5).
pub const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that keeps talking RTSP without ever announcing is given up after this time.
pub const PENDING_LIMIT: Duration = Duration::from_secs(60);

/// When RTSP is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtspEncryption {
    /// Always `rtsp://`.
    Never,
    /// `rtspenc://` for clients that understand it.
    WhenPossible,
    /// Clients that do not understand `rtspenc://` are refused.
    Required,
}

/// What the table grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Most sessions at once, paused ones included.
    pub max_sessions: usize,
    /// When RTSP is sealed.
    pub rtsp_encryption: RtspEncryption,
}

/// A validated `/launch` or `/resume` and what the host adds to it.
#[derive(Clone, Debug)]
pub struct LaunchOrder {
    /// What the client sent.
    pub request: LaunchRequest,
    /// Where it came from.
    pub peer: IpAddr,
    /// Fresh randomness for ping payload, connect data and RTSP token.
    pub random: [u8; 20],
}

/// All sessions of a host.
#[derive(Debug)]
pub struct SessionTable {
    policy: Policy,
    sessions: BTreeMap<ClientId, Session>,
    last_session: u64,
    last_run: u64,
}

impl SessionTable {
    /// An empty table.
    pub fn new(policy: Policy) -> Self {
        Self { policy, sessions: BTreeMap::new(), last_session: 0, last_run: 0 }
    }

    /// A `/launch`. Answer it after the effects were carried out; if the app does not start, report
    /// [`SessionTable::app_ended`] and answer with an error.
    ///
    /// # Errors
    /// 400 when an app of this client runs already, 403 when the client cannot encrypt as required, 503 when the host
    /// is full.
    pub fn launch(
        &mut self,
        client: ClientId,
        order: LaunchOrder,
        now: Time,
    ) -> Result<(SessionId, Vec<Effect>), ApiError> {
        let Some(app) = order.request.app else {
            return Err(ApiError::bad_request("The parameter appid is missing"));
        };
        self.check_encryption(&order.request)?;
        let mut effects = Vec::new();
        let kept_run = match self.sessions.get(&client) {
            None if self.sessions.len() >= self.policy.max_sessions => {
                return Err(ApiError::unavailable(
                    "This host already serves as many clients as it may; quit an app on another client",
                ));
            }
            None => None,
            Some(session) => {
                if !replaceable_by_launch(session, app) {
                    return Err(ApiError::bad_request("An app is already running on this host"));
                }
                (session.app == app).then_some(session.run)
            }
        };
        if let Some(session) = self.sessions.get_mut(&client) {
            end_connection(session, StopReason::Replaced, None, now, &mut effects);
            if kept_run.is_none() {
                effects.push(Effect::EndApp { client, run: session.run });
            }
        }
        let connection = self.connection(order);
        let session = connection.id;
        let run = kept_run.unwrap_or_else(|| self.next_run());
        if kept_run.is_none() {
            effects.push(Effect::StartApp { client, session, app, run });
        }
        let host_audio = connection.request.host_audio.unwrap_or(false);
        let state = pending(connection, Origin::Launch, now);
        self.sessions.insert(client, Session { client, app, run, host_audio, state });
        Ok((session, effects))
    }

    /// A `/resume`. Answer it after the effects were carried out.
    ///
    /// # Errors
    /// 503 when nothing of this client runs, 403 when the client cannot encrypt as required.
    pub fn resume(
        &mut self,
        client: ClientId,
        order: LaunchOrder,
        now: Time,
    ) -> Result<(SessionId, Vec<Effect>), ApiError> {
        self.check_encryption(&order.request)?;
        if !self.sessions.contains_key(&client) {
            return Err(ApiError::unavailable("No app of this client is running on this host"));
        }
        let connection = self.connection(order);
        let id = connection.id;
        let mut effects = Vec::new();
        if let Some(session) = self.sessions.get_mut(&client) {
            let farewell = matches!(session.state, State::Streaming { .. }).then_some(Termination::Graceful);
            end_connection(session, StopReason::Replaced, farewell, now, &mut effects);
            session.host_audio = connection.request.host_audio.unwrap_or(session.host_audio);
            session.state = pending(connection, Origin::Resume, now);
        }
        Ok((id, effects))
    }

    /// A `/cancel`: ends the caller's session. Idempotent.
    pub fn cancel(&mut self, client: ClientId, now: Time) -> Vec<Effect> {
        self.end(client, StopReason::Cancelled, now)
    }

    /// The host ends a client's session, for example because the client was unpaired. Idempotent.
    pub fn evict(&mut self, client: ClientId, now: Time) -> Vec<Effect> {
        self.end(client, StopReason::HostStops, now)
    }

    /// The host stops: ends every session.
    pub fn shut_down(&mut self, now: Time) -> Vec<Effect> {
        let clients: Vec<ClientId> = self.sessions.keys().copied().collect();
        clients.into_iter().flat_map(|client| self.end(client, StopReason::HostStops, now)).collect()
    }

    /// An app ended by itself, or could not be started.
    pub fn app_ended(&mut self, run: AppRun, now: Time) -> Vec<Effect> {
        let mut effects = Vec::new();
        let client = self.sessions.values().find(|session| session.run == run).map(Session::client);
        if let Some(mut session) = client.and_then(|client| self.sessions.remove(&client)) {
            end_connection(
                &mut session,
                StopReason::AppEnded,
                Some(Termination::Graceful),
                now,
                &mut effects,
            );
            effects.push(Effect::Ended { client: session.client, run });
        }
        effects
    }

    /// An RTSP request of a connection was answered: it is alive.
    pub fn rtsp_progress(&mut self, id: SessionId, now: Time) {
        if let Some(Session { state: State::Pending { deadline, .. }, .. }) = self.find_mut(id) {
            *deadline = now + STEP_TIMEOUT;
        }
    }

    /// The host's work for a `/launch`, a `/resume` or an ANNOUNCE is done: from now on it waits for the client.
    pub fn answered(&mut self, id: SessionId, now: Time) {
        match self.find_mut(id).map(|session| &mut session.state) {
            Some(State::Pending { deadline, limit, .. }) => {
                *deadline = now + STEP_TIMEOUT;
                *limit = now + PENDING_LIMIT;
            }
            Some(State::Starting { deadline, .. }) => *deadline = now + STEP_TIMEOUT,
            _ => {}
        }
    }

    /// ANNOUNCE was accepted.
    pub fn announced(&mut self, id: SessionId, parameters: StreamParameters, now: Time) -> Vec<Effect> {
        let Some(session) = self.find_mut(id) else { return Vec::new() };
        let State::Pending { connection, .. } = &session.state else { return Vec::new() };
        session.state = State::Starting {
            connection: connection.clone(),
            parameters: Box::new(parameters),
            played: false,
            connected: false,
            deadline: now + PENDING_LIMIT,
        };
        vec![Effect::StartStream { session: id }]
    }

    /// PLAY came.
    pub fn played(&mut self, id: SessionId, now: Time) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(session) = self.find_mut(id) else { return effects };
        let State::Starting { connection, played: played @ false, deadline, .. } = &mut session.state else {
            return effects;
        };
        *played = true;
        *deadline = now + STEP_TIMEOUT;
        if connection.audio_ping {
            effects.push(Effect::SendAudio { session: id });
        }
        start_streaming_if_ready(session, id, now, &mut effects);
        effects
    }

    /// ENet connected with this connection's data.
    pub fn control_connected(&mut self, id: SessionId, now: Time) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(session) = self.find_mut(id) else { return effects };
        if let State::Starting { connected, .. } = &mut session.state {
            *connected = true;
            start_streaming_if_ready(session, id, now, &mut effects);
        }
        effects
    }

    /// ENet disconnected, by the client's wish or because it is silent.
    pub fn control_disconnected(&mut self, id: SessionId, now: Time) -> Vec<Effect> {
        self.stop(id, StopReason::ClientLeft, None, now)
    }

    /// TEARDOWN came.
    pub fn torn_down(&mut self, id: SessionId, now: Time) -> Vec<Effect> {
        self.stop(id, StopReason::ClientLeft, None, now)
    }

    /// The host cannot go on with a stream; the app stays.
    pub fn stream_failed(&mut self, id: SessionId, termination: Termination, now: Time) -> Vec<Effect> {
        self.stop(id, StopReason::Failed, Some(termination), now)
    }

    /// A ping of this connection was seen; later ones have no effect.
    pub fn ping_learned(&mut self, id: SessionId, stream: StreamKind) -> Vec<Effect> {
        let Some(session) = self.find_mut(id) else { return Vec::new() };
        if !session.connection_mut().is_some_and(|connection| connection.note_ping(stream)) {
            return Vec::new();
        }
        match (&mut session.state, stream) {
            (State::Streaming { ping_deadline, .. }, StreamKind::Video) => {
                *ping_deadline = None;
                vec![Effect::SendVideo { session: id }]
            }
            (State::Streaming { .. } | State::Starting { played: true, .. }, StreamKind::Audio) => {
                vec![Effect::SendAudio { session: id }]
            }
            _ => Vec::new(),
        }
    }

    /// Lets time pass: gives up connections whose time is over.
    pub fn tick(&mut self, now: Time) -> Vec<Effect> {
        let mut effects = Vec::new();
        for session in self.sessions.values_mut() {
            if session.deadline().is_some_and(|deadline| deadline <= now) {
                let farewell =
                    matches!(session.state, State::Streaming { .. }).then_some(Termination::Graceful);
                end_connection(session, StopReason::Timeout, farewell, now, &mut effects);
            }
        }
        effects
    }

    /// When to call [`SessionTable::tick`] next, unless an event changes it.
    pub fn next_deadline(&self) -> Option<Time> {
        self.sessions.values().filter_map(Session::deadline).min()
    }

    /// What `/serverinfo` tells this client.
    pub fn current_game(&self, client: ClientId) -> Option<AppId> {
        self.sessions.get(&client).map(Session::app)
    }

    /// A client's session.
    pub fn of_client(&self, client: ClientId) -> Option<&Session> {
        self.sessions.get(&client)
    }

    /// The session that this connection belongs to, as long as it is the current one.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.values().find(|session| session.connection().is_some_and(|c| c.id == id))
    }

    /// All sessions.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// The connection that a ping with this payload belongs to.
    pub fn by_ping(&self, payload: &PingPayload) -> Option<SessionId> {
        self.connections().find(|c| c.ping_payload == *payload).map(|c| c.id)
    }

    /// The connection that an ENet peer with this connect data belongs to.
    pub fn by_connect_data(&self, data: u32) -> Option<SessionId> {
        self.connections().find(|c| c.connect_data == data).map(|c| c.id)
    }

    /// The newest connection from this address that sends neither ping payload nor connect data. Only what ANNOUNCE said
    /// tells; audio pings come before it, so there a connection that has not announced yet counts too. A client that does
    /// send its payload is never matched by address: anybody could forge that.
    pub fn by_peer(&self, peer: IpAddr, stream: StreamKind) -> Option<SessionId> {
        let peer = peer.to_canonical();
        let fits = |session: &&Session| match session.parameters() {
            Some(parameters) => !parameters.client_features.contains(ClientFeatures::SESSION_ID),
            None => stream == StreamKind::Audio,
        };
        let sessions = self.sessions.values().filter(fits);
        sessions.filter_map(Session::connection).filter(|c| c.peer == peer).map(|c| c.id).max()
    }

    fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.sessions.values().filter_map(Session::connection)
    }

    fn find_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.values_mut().find(|session| session.connection().is_some_and(|c| c.id == id))
    }

    fn check_encryption(&self, request: &LaunchRequest) -> Result<(), ApiError> {
        if self.policy.rtsp_encryption == RtspEncryption::Required && !request.understands_encrypted_rtsp() {
            return Err(ApiError::new(
                403,
                "This host requires encryption, which this client does not support",
            ));
        }
        Ok(())
    }

    fn connection(&mut self, order: LaunchOrder) -> Connection {
        self.last_session += 1;
        let [payload @ .., _, _, _, _, _, _, _, _, _, _, _, _] = order.random;
        let [_, _, _, _, _, _, _, _, data @ .., _, _, _, _, _, _, _, _] = order.random;
        // 0 is what clients without connect data send; two connections must not share a number.
        let mut connect_data = u32::from_be_bytes(data).max(1);
        while self.by_connect_data(connect_data).is_some() {
            connect_data = connect_data.wrapping_add(1).max(1);
        }
        let encrypted_rtsp = self.policy.rtsp_encryption != RtspEncryption::Never
            && order.request.understands_encrypted_rtsp();
        Connection {
            id: SessionId(self.last_session),
            request: order.request,
            peer: order.peer.to_canonical(),
            encrypted_rtsp,
            ping_payload: PingPayload::from_random(payload),
            connect_data,
            rtsp_token: hex::encode(&order.random[12..]),
            video_ping: false,
            audio_ping: false,
        }
    }

    fn next_run(&mut self) -> AppRun {
        self.last_run += 1;
        AppRun(self.last_run)
    }

    /// Ends a stream or its start; the app stays.
    fn stop(
        &mut self,
        id: SessionId,
        reason: StopReason,
        farewell: Option<Termination>,
        now: Time,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(session) = self.find_mut(id)
            && session.parameters().is_some()
        {
            end_connection(session, reason, farewell, now, &mut effects);
        }
        effects
    }

    /// Ends a session with its app.
    fn end(&mut self, client: ClientId, reason: StopReason, now: Time) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(mut session) = self.sessions.remove(&client) {
            end_connection(&mut session, reason, Some(Termination::Graceful), now, &mut effects);
            effects.push(Effect::EndApp { client, run: session.run });
            effects.push(Effect::Ended { client, run: session.run });
        }
        effects
    }
}

/// A client that retries, or never got through, may launch again; one that streams or paused must resume or cancel.
fn replaceable_by_launch(session: &Session, app: AppId) -> bool {
    match session.state {
        State::Pending { origin: Origin::Launch, .. } => true,
        State::Pending { origin: Origin::Resume, .. } | State::Starting { .. } => session.app == app,
        State::Streaming { .. } | State::Paused { .. } => false,
    }
}

fn pending(connection: Connection, origin: Origin, now: Time) -> State {
    // Making an output and starting an app may take the host longer than a client's next step may: see `answered`.
    State::Pending { connection, origin, deadline: now + PENDING_LIMIT, limit: now + PENDING_LIMIT }
}

fn start_streaming_if_ready(session: &mut Session, id: SessionId, now: Time, effects: &mut Vec<Effect>) {
    let State::Starting { connection, parameters, played: true, connected: true, .. } = &session.state else {
        return;
    };
    let ping_deadline = if connection.video_ping {
        effects.push(Effect::SendVideo { session: id });
        None
    } else {
        Some(now + STEP_TIMEOUT)
    };
    session.state =
        State::Streaming { connection: connection.clone(), parameters: parameters.clone(), ping_deadline };
}

/// Leaves the session paused. `farewell` reaches only clients whose stream was started.
fn end_connection(
    session: &mut Session,
    reason: StopReason,
    farewell: Option<Termination>,
    now: Time,
    effects: &mut Vec<Effect>,
) {
    let Some(connection) = session.connection() else { return };
    let (id, keep_gamepads) = (connection.id, connection.request.keep_gamepads);
    if session.parameters().is_some() {
        if let Some(termination) = farewell {
            effects.push(Effect::TerminateClient { session: id, termination });
        }
        effects.push(Effect::StopStream { session: id, reason, keep_gamepads });
    }
    effects.push(Effect::Forget { session: id });
    session.state = State::Paused { since: now };
}
