#ifndef LEAPSTREAM_SERVER_SERVING_H_
#define LEAPSTREAM_SERVER_SERVING_H_

#include <cstdint>
#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "server/accounts.h"
#include "server/admission.h"
#include "server/metrics.h"
#include "server/resume_token.h"
#include "server/served_models.h"
#include "server/options.h"
#include "server/timers.h"
#include "server/token_file.h"
#include "server/worker.h"

namespace leapstream {

// The objects that all calls of one server share. They outlive the calls: the destructor of
// `models` waits for the last call.
struct Serving {
  Serving(const ServerOptions& options, int max_sessions, int64_t text_bytes, ResumeSigner signer,
          std::unique_ptr<TokenFile> tokens, std::unique_ptr<Metrics> metrics,
          std::unique_ptr<ServedModels> models)
      : options(options),
        signer(std::move(signer)),
        tokens(std::move(tokens)),
        metrics(std::move(metrics)),
        accounts(options.quotas, this->metrics.get()),
        admission(max_sessions, options.max_sessions_per_principal, &accounts),
        texts(text_bytes),
        models(std::move(models)) {}

  const ServerOptions options;
  const ResumeSigner signer;
  const std::unique_ptr<TokenFile> tokens;  // Null: nobody needs a token.
  const std::unique_ptr<Metrics> metrics;
  Accounts accounts;
  Admission admission;
  std::function<int()> http_connections;  // Null: there is no port for HTTP.
  ByteBudget texts;  // The bytes of calls of Translate, and of configs.
  std::atomic<int> tokenizing{0};  // Calls of Tokenize that are under way.
  Timers timers;
  // Opens sessions. To get the memory for a state takes milliseconds, and gRPC's threads must not
  // wait so long: the calls of others would wait, too.
  Worker opener;
  const std::unique_ptr<ServedModels> models;  // Last: destroyed first.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SERVING_H_
