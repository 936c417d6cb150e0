#ifndef LEAPSTREAM_CLIENT_CLI_TRANSLATE_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_TRANSLATE_COMMAND_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/cli/policy_flags.h"
#include "client/cli/translate.h"
#include "client/cli/translate_audio.h"
#include "client/cli/translate_file.h"
#include "client/cli/translate_subtitles.h"
#include "client/client.h"

namespace leapstream::client {

// The command `leapstream translate`: its flags, and running it.
class TranslateCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone. `footer` ends the
  // command's --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Translates the input if the command was chosen; nullopt if not. The errors are those of
  // Client::Connect(), Translate() and TranslateAudio().
  std::optional<absl::Status> Run();

 private:
  std::string DefaultSegmentation() const;
  void AddStreamFlags();
  void AddInputFlags();
  void AddBeamFlags();
  void AddFileFlags();
  void AddHypothesisFlags();
  void AddAudioFlags();
  void CheckFiles() const;
  absl::Status Translation();
  TextOptions WholeTexts() const;  // The options of texts that are not streamed.

  CLI::App* command_ = nullptr;
  ClientOptions connection_;
  PolicyFlags policy_;
  TranslateOptions options_;
  BeamSearch beam_;
  TranslateFileOptions file_;  // Its input is empty: the source is streamed.
  TranslateSubtitlesOptions subtitles_;  // Likewise.
  AudioInputOptions audio_;  // Its path is empty: the input is text.
  // Values of flags as they were given; Translation() turns them into options.
  std::string segmentation_;  // "": see DefaultSegmentation().
  std::string pace_, pause_, deadline_, hypotheses_, format_;
  int agreement_ = 2;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TRANSLATE_COMMAND_H_
