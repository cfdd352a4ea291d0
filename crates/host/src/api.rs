//! The GameStream HTTP API: what each request means for this host.

use crate::asset;
use crate::clients::PairedClient;
use crate::network;
use crate::pairing::Pairings;
use crate::supervisor::Shared;
use lumen_gamestream::api::{self, ApiError, Endpoint, session_url};
use lumen_gamestream::applist::{AppEntry, AppId, app_list};
use lumen_gamestream::launch::{LaunchKind, LaunchRequest};
use lumen_gamestream::query::Query;
use lumen_gamestream::serverinfo::{Caller, CodecModes, ServerInfo, local_ip};
use lumen_gamestream::session::{ClientId, Connection};
use lumen_web::{Api, ApiFuture, ApiRequest, ApiResponse};
use std::sync::Arc;

/// Answers requests.
pub struct GameStreamApi {
    /// Sessions and what belongs to them.
    pub shared: Arc<Shared>,
    /// Pairing attempts.
    pub pairings: Arc<Pairings>,
    /// Shown name.
    pub name: String,
    /// What is offered.
    pub codecs: CodecModes,
}

impl Api for GameStreamApi {
    fn handle(&self, request: ApiRequest) -> ApiFuture<'_> {
        Box::pin(async move {
            match self.answer(&request).await {
                Ok(response) => response,
                Err(error) => {
                    tracing::debug!(path = request.path, %error, "refused");
                    ApiResponse::xml(error.to_xml())
                }
            }
        })
    }
}

impl GameStreamApi {
    async fn answer(&self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let endpoint = Endpoint::from_path(&request.path).ok_or_else(ApiError::not_found)?;
        let served = if request.secure { endpoint.over_https() } else { endpoint.over_http() };
        if !served {
            return Err(ApiError::not_found());
        }
        let query = Query::parse(&request.query)?;
        if !request.secure {
            return match endpoint {
                Endpoint::ServerInfo => Ok(self.server_info(request, Caller::Stranger)),
                Endpoint::Pair => Ok(self.pairings.answer(&query, request.peer).await),
                Endpoint::Unpair => Ok(self.pairings.unpair(&query, request.peer)),
                _ => Err(ApiError::not_found()),
            };
        }
        // Every request anew: a client that was unpaired a moment ago is a stranger on the same connection.
        let (id, client) = self.authorise(request)?;
        match endpoint {
            Endpoint::ServerInfo => {
                let current_game = self.shared.current_game(id);
                let mac = network::hardware_address();
                Ok(self.server_info(request, Caller::Paired { mac, current_game }))
            }
            Endpoint::Pair => Ok(self.pairings.confirm(&query)),
            Endpoint::AppList => Ok(self.app_list()),
            Endpoint::AppAsset => {
                // Any id gets a picture, also one that makes no sense: clients show nothing else.
                let app = query.number::<u32>("appid").ok().flatten().unwrap_or_default();
                let hue = asset::hue_of(app);
                Ok(ApiResponse::png(blocking(move || asset::placeholder(hue)).await?))
            }
            Endpoint::Launch => self.start(request, &query, LaunchKind::Launch, id, &client).await,
            Endpoint::Resume => self.start(request, &query, LaunchKind::Resume, id, &client).await,
            Endpoint::Cancel => {
                let shared = self.shared.clone();
                blocking(move || shared.cancel(id)).await?;
                Ok(ApiResponse::xml(api::cancelled()))
            }
            Endpoint::Unpair => Err(ApiError::not_found()),
        }
    }

    fn authorise(&self, request: &ApiRequest) -> Result<(ClientId, PairedClient), ApiError> {
        let certificate = request.client_certificate.as_deref().ok_or_else(ApiError::not_paired)?;
        let id = ClientId::of_certificate(certificate);
        let client = self.shared.clients().find(id).ok_or_else(ApiError::not_paired)?;
        Ok((id, client))
    }

    fn server_info(&self, request: &ApiRequest, caller: Caller) -> ApiResponse {
        let ports = self.shared.config().server.ports;
        let info = ServerInfo {
            hostname: self.name.clone(),
            unique_id: self.shared.unique_id().to_owned(),
            https_port: ports.https(),
            external_port: ports.http(),
            local_ip: local_ip(request.local.ip()),
            codecs: self.codecs,
            caller,
        };
        ApiResponse::xml(info.to_xml())
    }

    fn app_list(&self) -> ApiResponse {
        let apps: Vec<AppEntry> = self
            .shared
            .config()
            .apps
            .iter()
            .filter_map(|app| {
                let id = AppId::new(u32::try_from(app.id.as_i32()).ok()?)?;
                Some(AppEntry { id, title: app.title.clone(), hdr: false })
            })
            .collect();
        ApiResponse::xml(app_list(&apps))
    }

    async fn start(
        &self,
        request: &ApiRequest,
        query: &Query,
        kind: LaunchKind,
        id: ClientId,
        client: &PairedClient,
    ) -> Result<ApiResponse, ApiError> {
        let launch = LaunchRequest::parse(query, kind)?;
        let mode = launch.mode.map_or_else(
            || "any mode".to_owned(),
            |mode| format!("{}x{}@{}", mode.width, mode.height, mode.refresh_mhz.unwrap_or_default() / 1000),
        );
        tracing::info!(client = client.name, %id, ?kind, mode, "a client asks for a stream");
        let shared = self.shared.clone();
        let peer = request.peer.ip();
        let connection: Connection = blocking(move || match kind {
            LaunchKind::Launch => shared.launch(id, launch, peer),
            LaunchKind::Resume => shared.resume(id, launch, peer),
        })
        .await??;
        let port = self.shared.config().server.ports.rtsp();
        let url = session_url(connection.encrypted_rtsp, request.local.ip(), port);
        Ok(ApiResponse::xml(match kind {
            LaunchKind::Launch => api::launched(&url),
            LaunchKind::Resume => api::resumed(&url),
        }))
    }
}

/// Runs what takes time off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ApiError::unavailable(format!("The request failed inside the host: {error}")))
}
