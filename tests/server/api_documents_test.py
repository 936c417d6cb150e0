"""Checks the OpenAPI and AsyncAPI documents that a server serves.

Arguments: the folder of the programs, a model directory, the folder of the schemas of OpenAPI 3.1 and AsyncAPI 2.6. The
documents are held to those, their own schemas to JSON Schema, and real answers of the server to them.
"""

import json
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import jsonschema

PROGRAMS, MODEL, SCHEMAS = sys.argv[1:4]
TIMEOUT = 60  # Seconds.


class DocumentsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        cls.log = Path(cls.folder.name) / "log"
        with open(cls.log, "w") as log:
            cls.server = subprocess.Popen(
                [f"{PROGRAMS}/leapstream-server", "--model", MODEL, "--listen", "127.0.0.1:0", "--http-listen",
                 "127.0.0.1:0"], stdout=log, stderr=subprocess.STDOUT)
        end = time.monotonic() + TIMEOUT
        while "http on port " not in cls.log.read_text():
            if cls.server.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"it does not serve: {cls.log.read_text()}")
            time.sleep(0.01)
        cls.port = int(cls.log.read_text().split("http on port ")[1].split()[0])
        cls.openapi = cls.get("/v1/openapi.json")
        cls.asyncapi = cls.get("/v1/asyncapi.json")

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.wait()
        cls.folder.cleanup()

    @classmethod
    def get(cls, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{cls.port}{path}", data=body,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def fits(self, value, document, name):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)

    def test_the_documents_are_of_their_kinds(self):
        for name, document in [("openapi-3.1.json", self.openapi), ("asyncapi-2.6.json", self.asyncapi)]:
            with self.subTest(name):
                schema = json.loads((Path(SCHEMAS) / name).read_text())
                validator = jsonschema.validators.validator_for(schema)
                validator(schema).validate(document)

    def test_their_schemas_are_schemas(self):
        for document in (self.openapi, self.asyncapi):
            for name, schema in document["components"]["schemas"].items():
                with self.subTest(name):
                    jsonschema.Draft202012Validator.check_schema(schema)

    def test_answers_are_as_they_say(self):
        self.fits(self.get("/v1/models"), self.openapi, "ListModelsResponse")
        request = {"text": "Sound can be included.", "policy": {"waitK": {"k": 3}}}
        self.fits(request, self.openapi, "TranslateRequest")
        self.fits(self.get("/v1/translate", json.dumps(request).encode()), self.openapi, "TranslateResponse")
        wrong = {"txt": "Sound can be included."}
        with self.assertRaises(jsonschema.ValidationError):
            self.fits(wrong, self.openapi, "TranslateRequest")
        self.fits(self.get("/v1/translate", json.dumps(wrong).encode()), self.openapi, "Error")
        self.fits({"config": {"policy": {"waitK": {"k": 3}}}}, self.asyncapi, "StreamTranslateRequest")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
