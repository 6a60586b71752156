BEGIN TRANSACTION;
CREATE TABLE decisions (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	rule VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	cause VARCHAR NOT NULL, 
	turn INTEGER NOT NULL, 
	outcome VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	detail VARCHAR NOT NULL, 
	numbers JSON NOT NULL, 
	version INTEGER, 
	decided_at DATETIME NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (model, rule, cause, turn), 
	FOREIGN KEY(model) REFERENCES models (id)
);
INSERT INTO "decisions" VALUES('01a20cea-0701-75a9-8269-875d34a7a034','default/tweets','manual','manual','01a20cea-06f4-7703-9297-e9cbfa58e2e4',1,'fire','RETRAIN_ASKED','a test','{}',NULL,'2021-01-01 00:00:00.000000','2026-11-24 09:36:33.537027');
INSERT INTO "decisions" VALUES('01a20cea-073a-7146-a472-1636827a3375','default/tweets','drifted','drift','no-version',1,'wait','WAIT_NO_VERSION','no version is in production; train the first with `driftgate train`','{}',NULL,'2021-01-01 00:00:00.000000','2026-11-24 09:36:33.594428');
INSERT INTO "decisions" VALUES('01a20cea-0754-71a9-a245-334778eef684','default/tweets','drifted','drift','v1',1,'wait','WAIT_NO_DATA','weekly has no window to judge yet','{}',1,'2021-01-01 00:00:00.000000','2026-11-24 09:36:33.620372');
INSERT INTO "decisions" VALUES('01a20cea-0763-73f7-8f56-a00a1ad188bc','default/tweets','drifted','drift','w-c8efb06f51a8e8580848f35d',1,'wait','WAIT_STABLE','0% of the features drifted (none), threshold 50%','{"drifted_share": 0.0, "threshold": 0.5, "rows": 100, "drifted": []}',1,'2021-01-01 00:00:00.000000','2026-11-24 09:36:33.635895');
INSERT INTO "decisions" VALUES('01a20cea-0766-7788-a9b8-f01b1910af94','default/tweets','drifted','drift','w-eb5c99803ba296e536e1ba41',1,'fire','RETRAIN_DRIFT','100% of the features drifted (none), threshold 50%','{"drifted_share": 1.0, "threshold": 0.5, "rows": 100, "drifted": []}',1,'2021-01-01 00:00:00.000000','2026-11-24 09:36:33.638119');
INSERT INTO "decisions" VALUES('01a20cea-0795-77c3-a36a-d6712677e6df','default/tweets','drifted','drift','v2',1,'wait','WAIT_NO_DATA','weekly has no window to judge yet','{}',2,'2021-01-01 00:00:00.000000','2026-11-24 09:36:33.685554');
INSERT INTO "decisions" VALUES('01a20cea-07a2-70ee-8f29-6a093a2ca276','default/tweets','manual','manual','01a20cea-079e-713e-b226-50f95fcc22ec',1,'fire','RETRAIN_ASKED','a test','{}',2,'2021-01-01 00:00:00.000000','2026-11-24 09:36:33.698739');
CREATE TABLE firings (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	rule VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	"trigger" VARCHAR NOT NULL, 
	cause VARCHAR NOT NULL, 
	decision_id VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	detail VARCHAR NOT NULL, 
	fired_at DATETIME NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (model, rule, cause), 
	FOREIGN KEY(model) REFERENCES models (id), 
	UNIQUE (decision_id), 
	FOREIGN KEY(decision_id) REFERENCES decisions (id)
);
INSERT INTO "firings" VALUES('01a20cea-0702-77e7-bc17-723c479b2922','default/tweets','manual','manual','manual','01a20cea-06f4-7703-9297-e9cbfa58e2e4','01a20cea-0701-75a9-8269-875d34a7a034','RETRAIN_ASKED','a test','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.537027');
INSERT INTO "firings" VALUES('01a20cea-0766-7788-a9b8-f01d57409d0c','default/tweets','drifted','drift','data','w-eb5c99803ba296e536e1ba41','01a20cea-0766-7788-a9b8-f01b1910af94','RETRAIN_DRIFT','100% of the features drifted (none), threshold 50%','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.638119');
INSERT INTO "firings" VALUES('01a20cea-07a3-7160-bdbb-02b36275987a','default/tweets','manual','manual','manual','01a20cea-079e-713e-b226-50f95fcc22ec','01a20cea-07a2-70ee-8f29-6a093a2ca276','RETRAIN_ASKED','a test','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.698739');
CREATE TABLE gate_verdicts (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	run_key VARCHAR NOT NULL, 
	passed BOOLEAN NOT NULL, 
	reason VARCHAR NOT NULL, 
	detail VARCHAR NOT NULL, 
	numbers JSON NOT NULL, 
	decided_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(model) REFERENCES models (id), 
	UNIQUE (run_key), 
	FOREIGN KEY(run_key) REFERENCES training_runs ("key")
);
INSERT INTO "gate_verdicts" VALUES('01a20cea-0734-7300-b9e4-810a3aef1830','default/tweets',1,'01a20cea-06ff-7714-a188-c4614b74566a',1,'PASS_FIRST','roc_auc 1.0000 against 0.5000 of the constant answer: better by +0.5000, at least +0.5000 at 95% confidence, margin 0','{"metric": "roc_auc", "rows": 400, "margin": 0.0, "challenger": 1.0, "champion": null, "constant": 0.5, "difference": 0.5, "lower": 0.5, "upper": 0.5, "confidence": 0.95, "resamples": 200}','2021-01-01 00:00:00.000000');
INSERT INTO "gate_verdicts" VALUES('01a20cea-077d-75d3-b4d2-8593e7312976','default/tweets',2,'01a20cea-0765-73b9-b925-55d2c2c3a085',1,'PASS_BETTER','roc_auc 1.0000 against 0.7349 of the champion: better by +0.2651, at least +0.2234 at 95% confidence, margin 0','{"metric": "roc_auc", "rows": 400, "margin": 0.0, "challenger": 1.0, "champion": 0.7348872180451128, "constant": null, "difference": 0.2651127819548872, "lower": 0.223398443605236, "upper": 0.3026114283571859, "confidence": 0.95, "resamples": 200}','2021-01-01 00:00:00.000000');
CREATE TABLE instances (
	id VARCHAR(64) NOT NULL, 
	loaded JSON NOT NULL, 
	failed JSON NOT NULL, 
	reported_at DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "instances" VALUES('serving-1','[{"model": "default/tweets", "version": 1, "manifest": "ad2a1f81d0d0c0d3339d1527b07c63089b86bd6447f530ad6371bac413ff7293"}, {"model": "default/tweets", "version": 2, "manifest": "989d83b0626a12d081984836945e87932f3f61fbf51695168f61014611abfaf6"}]','[]','2026-11-24 09:36:33.675913');
CREATE TABLE models (
	id VARCHAR(127) NOT NULL, 
	spec JSON NOT NULL, 
	spec_digest VARCHAR NOT NULL, 
	recipe JSON NOT NULL, 
	recipe_digest VARCHAR NOT NULL, 
	applied_at DATETIME NOT NULL, 
	decided_until DATETIME, 
	monitored_until DATETIME, 
	PRIMARY KEY (id)
);
INSERT INTO "models" VALUES('default/tweets','{"model": "default/tweets", "task": "binary", "description": "", "team": "t", "data_owner": "o", "engine": "spark", "source": {"format": "csv", "id": "id", "time": "at"}, "raw": [{"name": "followers", "type": "number", "required": false, "privacy": "keep"}], "label": {"name": "retweeted", "horizon": "1d", "from": [{"column": "retweets", "above": 0.0}]}, "features": [{"name": "followers", "type": "numeric"}, {"name": "place", "type": "categorical"}], "entry": {"features": "features.py:features", "pipeline": "training.py:pipeline"}, "train": {"rows": 50000, "holdout": 0.2, "min_rows": 200}, "monitors": [{"name": "weekly", "window": {"kind": "count", "size": 100}, "sample": 5000, "min_labels": 10, "drift": {"numeric_method": "ks", "numeric_threshold": 0.001, "categorical_method": "jensenshannon", "categorical_threshold": 0.1, "top_categories": 20}}], "rules": [{"name": "drifted", "cooldown": "0w", "kind": "drift", "monitor": "weekly", "drifted_share": 0.5, "min_rows": 50}], "gate": {"metric": "roc_auc", "margin": 0.0, "confidence": 0.95, "min_rows": 100, "resamples": 200}}','bb41819afd9517b3547fd9c7c42df9e6cf6fd74a92fd6ad653dbba81414c15a0','{"features.py": "def features(raw): return raw\n", "training.py": "def pipeline(s): ...\n"}','d0f827f7e58ba589c851ba411f0906ba46e529a125a1082f454e0323ae163eda','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000',NULL);
CREATE TABLE observations (
	model VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	watermark DATETIME, 
	labelled_new INTEGER NOT NULL, 
	observed_at DATETIME NOT NULL, 
	PRIMARY KEY (model, version), 
	FOREIGN KEY(model) REFERENCES models (id)
);
INSERT INTO "observations" VALUES('default/tweets',2,'2021-01-01 00:00:00.000000',5,'2021-01-01 00:00:00.000000');
CREATE TABLE outbox (
	sequence INTEGER NOT NULL, 
	event_id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	body JSON NOT NULL, 
	event_time DATETIME NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	published_at DATETIME, 
	PRIMARY KEY (sequence), 
	UNIQUE (event_id)
);
INSERT INTO "outbox" VALUES(1,'01a20cea-0701-75a9-8269-875ec7d35cfa','default/tweets','decision','{"rule": "manual", "cause": "01a20cea-06f4-7703-9297-e9cbfa58e2e4", "outcome": "fire", "reason": "RETRAIN_ASKED", "detail": "a test"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.537185','2026-11-24 09:36:33.598754');
INSERT INTO "outbox" VALUES(2,'01a20cea-0703-7120-a742-fb6bbabb7c0f','default/tweets','firing','{"rule": "manual", "trigger": "manual", "cause": "01a20cea-06f4-7703-9297-e9cbfa58e2e4", "reason": "RETRAIN_ASKED", "detail": "a test", "run": "01a20cea-06ff-7714-a188-c4614b74566a"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.539901','2026-11-24 09:36:33.598754');
INSERT INTO "outbox" VALUES(3,'01a20cea-071c-72e9-897d-d406f9af96cb','default/tweets','run','{"run": "01a20cea-06ff-7714-a188-c4614b74566a", "state": "running", "attempt": 1}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.564663','2026-11-24 09:36:33.598754');
INSERT INTO "outbox" VALUES(4,'01a20cea-071f-73f9-963b-f2195a24757c','default/tweets','run','{"run": "01a20cea-06ff-7714-a188-c4614b74566a", "state": "succeeded", "seconds": 1.0, "version": 1}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.567751','2026-11-24 09:36:33.598754');
INSERT INTO "outbox" VALUES(5,'01a20cea-0734-7300-b9e4-810b0ec03d83','default/tweets','gate','{"version": 1, "passed": true, "reason": "PASS_FIRST", "detail": "roc_auc 1.0000 against 0.5000 of the constant answer: better by +0.5000, at least +0.5000 at 95% confidence, margin 0", "metric": "roc_auc", "rows": 400, "margin": 0.0, "challenger": 1.0, "champion": null, "constant": 0.5, "difference": 0.5, "lower": 0.5, "upper": 0.5, "confidence": 0.95, "resamples": 200}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.588750','2026-11-24 09:36:33.598754');
INSERT INTO "outbox" VALUES(6,'01a20cea-073a-7146-a472-163724436674','default/tweets','decision','{"rule": "drifted", "cause": "no-version", "outcome": "wait", "reason": "WAIT_NO_VERSION", "detail": "no version is in production; train the first with `driftgate train`"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.594614','2026-11-24 09:36:33.598754');
INSERT INTO "outbox" VALUES(7,'01a20cea-074b-7368-af2f-f7d0e382cdc3','default/tweets','promotion','{"version": 1, "replaced": null, "run": "01a20cea-06ff-7714-a188-c4614b74566a"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.611610','2026-11-24 09:36:33.622679');
INSERT INTO "outbox" VALUES(8,'01a20cea-0754-71a9-a245-3348fafc9b6a','default/tweets','decision','{"rule": "drifted", "cause": "v1", "outcome": "wait", "reason": "WAIT_NO_DATA", "detail": "weekly has no window to judge yet"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.620461','2026-11-24 09:36:33.622679');
INSERT INTO "outbox" VALUES(9,'01a20cea-0758-72fe-b437-c3ceeac119fb','default/tweets','verdict','{"window": "w-c8efb06f51a8e8580848f35d", "version": 1, "monitor": "weekly", "revision": 1, "after": "2021-01-01T01:00:00+00:00", "until": "2021-01-01T02:00:00+00:00", "rows": 100, "late_rows": 0, "labelled": 0, "verdict": {"drifted_share": 0.0, "features": {}, "error": null}}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.624939','2026-11-24 09:36:33.641376');
INSERT INTO "outbox" VALUES(10,'01a20cea-075c-7025-a59d-fc5b0b887f2e','default/tweets','verdict','{"window": "w-eb5c99803ba296e536e1ba41", "version": 1, "monitor": "weekly", "revision": 1, "after": "2021-01-01T02:00:00+00:00", "until": "2021-01-01T03:00:00+00:00", "rows": 100, "late_rows": 0, "labelled": 0, "verdict": {"drifted_share": 1.0, "features": {}, "error": null}}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.628818','2026-11-24 09:36:33.641376');
INSERT INTO "outbox" VALUES(11,'01a20cea-0763-73f7-8f56-a00ba823598a','default/tweets','decision','{"rule": "drifted", "cause": "w-c8efb06f51a8e8580848f35d", "outcome": "wait", "reason": "WAIT_STABLE", "detail": "0% of the features drifted (none), threshold 50%"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.635979','2026-11-24 09:36:33.641376');
INSERT INTO "outbox" VALUES(12,'01a20cea-0766-7788-a9b8-f01c8fb69e57','default/tweets','decision','{"rule": "drifted", "cause": "w-eb5c99803ba296e536e1ba41", "outcome": "fire", "reason": "RETRAIN_DRIFT", "detail": "100% of the features drifted (none), threshold 50%"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.638207','2026-11-24 09:36:33.641376');
INSERT INTO "outbox" VALUES(13,'01a20cea-0767-77ce-aaef-dd5dbd15ab5b','default/tweets','firing','{"rule": "drifted", "trigger": "data", "cause": "w-eb5c99803ba296e536e1ba41", "reason": "RETRAIN_DRIFT", "detail": "100% of the features drifted (none), threshold 50%", "run": "01a20cea-0765-73b9-b925-55d2c2c3a085"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.639065','2026-11-24 09:36:33.641376');
INSERT INTO "outbox" VALUES(14,'01a20cea-0771-723c-a564-71d5ee9fb5fd','default/tweets','run','{"run": "01a20cea-0765-73b9-b925-55d2c2c3a085", "state": "running", "attempt": 1}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.649705','2026-11-24 09:36:33.668114');
INSERT INTO "outbox" VALUES(15,'01a20cea-0773-714b-80b4-00b06498bf9d','default/tweets','run','{"run": "01a20cea-0765-73b9-b925-55d2c2c3a085", "state": "succeeded", "seconds": 1.0, "version": 2}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.651645','2026-11-24 09:36:33.668114');
INSERT INTO "outbox" VALUES(16,'01a20cea-077d-75d3-b4d2-8594d4fe3069','default/tweets','gate','{"version": 2, "passed": true, "reason": "PASS_BETTER", "detail": "roc_auc 1.0000 against 0.7349 of the champion: better by +0.2651, at least +0.2234 at 95% confidence, margin 0", "metric": "roc_auc", "rows": 400, "margin": 0.0, "challenger": 1.0, "champion": 0.7348872180451128, "constant": null, "difference": 0.2651127819548872, "lower": 0.223398443605236, "upper": 0.3026114283571859, "confidence": 0.95, "resamples": 200}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.661724','2026-11-24 09:36:33.668114');
INSERT INTO "outbox" VALUES(17,'01a20cea-0790-7595-bea9-d069b114557b','default/tweets','promotion','{"version": 2, "replaced": 1, "run": "01a20cea-0765-73b9-b925-55d2c2c3a085"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.680391','2026-11-24 09:36:33.687899');
INSERT INTO "outbox" VALUES(18,'01a20cea-0795-77c3-a36a-d6728b0880c9','default/tweets','decision','{"rule": "drifted", "cause": "v2", "outcome": "wait", "reason": "WAIT_NO_DATA", "detail": "weekly has no window to judge yet"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.685639','2026-11-24 09:36:33.687899');
INSERT INTO "outbox" VALUES(19,'01a20cea-07a2-70ee-8f29-6a0a546ab9c6','default/tweets','decision','{"rule": "manual", "cause": "01a20cea-079e-713e-b226-50f95fcc22ec", "outcome": "fire", "reason": "RETRAIN_ASKED", "detail": "a test"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.698829','2026-11-24 09:36:33.711112');
INSERT INTO "outbox" VALUES(20,'01a20cea-07a3-7160-bdbb-02b4199438a1','default/tweets','firing','{"rule": "manual", "trigger": "manual", "cause": "01a20cea-079e-713e-b226-50f95fcc22ec", "reason": "RETRAIN_ASKED", "detail": "a test", "run": "01a20cea-07a1-7519-9a15-f7d1e52ad9ab"}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.699589','2026-11-24 09:36:33.711112');
INSERT INTO "outbox" VALUES(21,'01a20cea-07a8-7556-8573-5d0e59fcae1b','default/tweets','run','{"run": "01a20cea-07a1-7519-9a15-f7d1e52ad9ab", "state": "running", "attempt": 1}','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.704055','2026-11-24 09:36:33.711112');
CREATE TABLE replay_clock (
	id INTEGER NOT NULL, 
	now DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "replay_clock" VALUES(1,'2021-01-01 00:00:00.000000');
CREATE TABLE schedule_starts (
	model VARCHAR NOT NULL, 
	rule VARCHAR NOT NULL, 
	since DATETIME NOT NULL, 
	PRIMARY KEY (model, rule), 
	FOREIGN KEY(model) REFERENCES models (id)
);
CREATE TABLE tokens (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	scopes JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	PRIMARY KEY (id), 
	UNIQUE (sha256)
);
INSERT INTO "tokens" VALUES('01a20cea-07b2-74fd-aa88-fccc15195392','admin','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','["admin"]','2026-11-24 09:36:33.714336',NULL);
CREATE TABLE training_runs (
	"key" VARCHAR(36) NOT NULL, 
	firing_id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	state VARCHAR(32) NOT NULL, 
	request JSON NOT NULL, 
	parent INTEGER, 
	asked_at DATETIME NOT NULL, 
	started_at DATETIME, 
	ended_at DATETIME, 
	recorded_at DATETIME NOT NULL, 
	ended_recorded_at DATETIME, 
	epoch INTEGER NOT NULL, 
	lease_owner VARCHAR, 
	lease_until DATETIME, 
	attempts INTEGER NOT NULL, 
	progress JSON, 
	report JSON, 
	failure_code VARCHAR, 
	failure_message VARCHAR, 
	PRIMARY KEY ("key"), 
	UNIQUE (firing_id), 
	FOREIGN KEY(firing_id) REFERENCES firings (id), 
	FOREIGN KEY(model) REFERENCES models (id)
);
INSERT INTO "training_runs" VALUES('01a20cea-06ff-7714-a188-c4614b74566a','01a20cea-0702-77e7-bc17-723c479b2922','default/tweets','succeeded','{"key": "01a20cea-06ff-7714-a188-c4614b74566a", "spec": {"model": "default/tweets", "task": "binary", "description": "", "team": "t", "data_owner": "o", "engine": "spark", "source": {"format": "csv", "id": "id", "time": "at"}, "raw": [{"name": "followers", "type": "number", "required": false, "privacy": "keep"}], "label": {"name": "retweeted", "horizon": "1d", "from": [{"column": "retweets", "above": 0.0}]}, "features": [{"name": "followers", "type": "numeric"}, {"name": "place", "type": "categorical"}], "entry": {"features": "features.py:features", "pipeline": "training.py:pipeline"}, "train": {"rows": 50000, "holdout": 0.2, "min_rows": 200}, "monitors": [{"name": "weekly", "window": {"kind": "count", "size": 100}, "sample": 5000, "min_labels": 10, "drift": {"numeric_method": "ks", "numeric_threshold": 0.001, "categorical_method": "jensenshannon", "categorical_threshold": 0.1, "top_categories": 20}}], "rules": [{"name": "drifted", "cooldown": "0w", "kind": "drift", "monitor": "weekly", "drifted_share": 0.5, "min_rows": 50}], "gate": {"metric": "roc_auc", "margin": 0.0, "confidence": 0.95, "min_rows": 100, "resamples": 200}}, "recipe": {"features.py": "def features(raw): return raw\n", "training.py": "def pipeline(s): ...\n"}, "cutoff": "2021-01-01T00:00:00Z", "champion": null, "champion_cutoff": null, "why": "asked for by a person or a program: a test"}',NULL,'2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.537027','2026-11-24 09:36:33.566218',1,'control-1',NULL,1,'null','{"key": "01a20cea-06ff-7714-a188-c4614b74566a", "made": {"manifest": "ad2a1f81d0d0c0d3339d1527b07c63089b86bd6447f530ad6371bac413ff7293", "onnx_sha256": "0000000000000000000000000000000000000000000000000000000000000000", "dataset": {"fingerprint": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "files": {}, "rows": 500, "train_rows": 400, "holdout_rows": 100, "period": ["2021-01-01T00:00:00Z", "2021-01-01T00:00:00Z"], "train_until": "2021-01-01T00:00:00Z", "cutoff": "2021-01-01T00:00:00Z", "spec_digest": "bb41819afd9517b3547fd9c7c42df9e6cf6fd74a92fd6ad653dbba81414c15a0", "recipe_digest": "r", "code_version": "c"}, "metrics": {"roc_auc": 0.8}, "constant": {"roc_auc": 0.5}, "champion": {}, "parity": {"rows": 100, "label_mismatches": 0, "max_score_difference": 0.0}, "gate_rows": "d455beff5f584d922f479cec62df428d947d703a0c5659a76e8bb895d5902c5f", "mlflow_run_id": "m", "mlflow_version": "1", "bento_tag": "tweets:1"}, "failure": null, "finished_at": "2021-01-01T00:00:00Z", "seconds": 1.0}',NULL,NULL);
INSERT INTO "training_runs" VALUES('01a20cea-0765-73b9-b925-55d2c2c3a085','01a20cea-0766-7788-a9b8-f01d57409d0c','default/tweets','succeeded','{"key": "01a20cea-0765-73b9-b925-55d2c2c3a085", "spec": {"model": "default/tweets", "task": "binary", "description": "", "team": "t", "data_owner": "o", "engine": "spark", "source": {"format": "csv", "id": "id", "time": "at"}, "raw": [{"name": "followers", "type": "number", "required": false, "privacy": "keep"}], "label": {"name": "retweeted", "horizon": "1d", "from": [{"column": "retweets", "above": 0.0}]}, "features": [{"name": "followers", "type": "numeric"}, {"name": "place", "type": "categorical"}], "entry": {"features": "features.py:features", "pipeline": "training.py:pipeline"}, "train": {"rows": 50000, "holdout": 0.2, "min_rows": 200}, "monitors": [{"name": "weekly", "window": {"kind": "count", "size": 100}, "sample": 5000, "min_labels": 10, "drift": {"numeric_method": "ks", "numeric_threshold": 0.001, "categorical_method": "jensenshannon", "categorical_threshold": 0.1, "top_categories": 20}}], "rules": [{"name": "drifted", "cooldown": "0w", "kind": "drift", "monitor": "weekly", "drifted_share": 0.5, "min_rows": 50}], "gate": {"metric": "roc_auc", "margin": 0.0, "confidence": 0.95, "min_rows": 100, "resamples": 200}}, "recipe": {"features.py": "def features(raw): return raw\n", "training.py": "def pipeline(s): ...\n"}, "cutoff": "2021-01-01T00:00:00Z", "champion": "ad2a1f81d0d0c0d3339d1527b07c63089b86bd6447f530ad6371bac413ff7293", "champion_cutoff": "2021-01-01T00:00:00Z", "why": "drift above threshold: 100% of the features drifted (none), threshold 50%"}',1,'2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.638119','2026-11-24 09:36:33.651050',1,'control-1',NULL,1,'null','{"key": "01a20cea-0765-73b9-b925-55d2c2c3a085", "made": {"manifest": "989d83b0626a12d081984836945e87932f3f61fbf51695168f61014611abfaf6", "onnx_sha256": "0000000000000000000000000000000000000000000000000000000000000000", "dataset": {"fingerprint": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "files": {}, "rows": 500, "train_rows": 400, "holdout_rows": 100, "period": ["2021-01-01T00:00:00Z", "2021-01-01T00:00:00Z"], "train_until": "2021-01-01T00:00:00Z", "cutoff": "2021-01-01T00:00:00Z", "spec_digest": "bb41819afd9517b3547fd9c7c42df9e6cf6fd74a92fd6ad653dbba81414c15a0", "recipe_digest": "r", "code_version": "c"}, "metrics": {"roc_auc": 0.8}, "constant": {"roc_auc": 0.5}, "champion": {"roc_auc": 0.7}, "parity": {"rows": 100, "label_mismatches": 0, "max_score_difference": 0.0}, "gate_rows": "fc63c1086891752c14d9efbaaa8cc18788d5db1936d5751231707dd860faea4d", "mlflow_run_id": "m", "mlflow_version": "1", "bento_tag": "tweets:1"}, "failure": null, "finished_at": "2021-01-01T00:00:00Z", "seconds": 1.0}',NULL,NULL);
INSERT INTO "training_runs" VALUES('01a20cea-07a1-7519-9a15-f7d1e52ad9ab','01a20cea-07a3-7160-bdbb-02b36275987a','default/tweets','running','{"key": "01a20cea-07a1-7519-9a15-f7d1e52ad9ab", "spec": {"model": "default/tweets", "task": "binary", "description": "", "team": "t", "data_owner": "o", "engine": "spark", "source": {"format": "csv", "id": "id", "time": "at"}, "raw": [{"name": "followers", "type": "number", "required": false, "privacy": "keep"}], "label": {"name": "retweeted", "horizon": "1d", "from": [{"column": "retweets", "above": 0.0}]}, "features": [{"name": "followers", "type": "numeric"}, {"name": "place", "type": "categorical"}], "entry": {"features": "features.py:features", "pipeline": "training.py:pipeline"}, "train": {"rows": 50000, "holdout": 0.2, "min_rows": 200}, "monitors": [{"name": "weekly", "window": {"kind": "count", "size": 100}, "sample": 5000, "min_labels": 10, "drift": {"numeric_method": "ks", "numeric_threshold": 0.001, "categorical_method": "jensenshannon", "categorical_threshold": 0.1, "top_categories": 20}}], "rules": [{"name": "drifted", "cooldown": "0w", "kind": "drift", "monitor": "weekly", "drifted_share": 0.5, "min_rows": 50}], "gate": {"metric": "roc_auc", "margin": 0.0, "confidence": 0.95, "min_rows": 100, "resamples": 200}}, "recipe": {"features.py": "def features(raw): return raw\n", "training.py": "def pipeline(s): ...\n"}, "cutoff": "2021-01-01T00:00:00Z", "champion": "989d83b0626a12d081984836945e87932f3f61fbf51695168f61014611abfaf6", "champion_cutoff": "2021-01-01T00:00:00Z", "why": "asked for by a person or a program: a test"}',2,'2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000',NULL,'2026-11-24 09:36:33.698739',NULL,1,'control-1','2026-11-24 09:36:48.000000',1,'null','null',NULL,NULL);
CREATE TABLE versions (
	id INTEGER NOT NULL, 
	model VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR(32) NOT NULL, 
	note VARCHAR NOT NULL, 
	manifest VARCHAR NOT NULL, 
	onnx_sha256 VARCHAR NOT NULL, 
	parent INTEGER, 
	run_key VARCHAR NOT NULL, 
	firing_id VARCHAR NOT NULL, 
	dataset JSON NOT NULL, 
	metrics JSON NOT NULL, 
	constant_metrics JSON NOT NULL, 
	champion_metrics JSON NOT NULL, 
	parity JSON NOT NULL, 
	gate_rows VARCHAR NOT NULL, 
	mlflow_run_id VARCHAR NOT NULL, 
	mlflow_version VARCHAR NOT NULL, 
	bento_tag VARCHAR NOT NULL, 
	train_until DATETIME NOT NULL, 
	made_at DATETIME NOT NULL, 
	state_at DATETIME NOT NULL, 
	promoted_at DATETIME, 
	first_promoted_at DATETIME, 
	recorded_at DATETIME NOT NULL, 
	promoted_recorded_at DATETIME, 
	PRIMARY KEY (id), 
	UNIQUE (model, number), 
	FOREIGN KEY(model) REFERENCES models (id), 
	UNIQUE (run_key), 
	FOREIGN KEY(run_key) REFERENCES training_runs ("key"), 
	FOREIGN KEY(firing_id) REFERENCES firings (id)
);
INSERT INTO "versions" VALUES(1,'default/tweets',1,'retired','replaced by version 2','ad2a1f81d0d0c0d3339d1527b07c63089b86bd6447f530ad6371bac413ff7293','0000000000000000000000000000000000000000000000000000000000000000',NULL,'01a20cea-06ff-7714-a188-c4614b74566a','01a20cea-0702-77e7-bc17-723c479b2922','{"fingerprint": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "files": {}, "rows": 500, "train_rows": 400, "holdout_rows": 100, "period": ["2021-01-01T00:00:00Z", "2021-01-01T00:00:00Z"], "train_until": "2021-01-01T00:00:00Z", "cutoff": "2021-01-01T00:00:00Z", "spec_digest": "bb41819afd9517b3547fd9c7c42df9e6cf6fd74a92fd6ad653dbba81414c15a0", "recipe_digest": "r", "code_version": "c"}','{"roc_auc": 0.8}','{"roc_auc": 0.5}','{}','{"rows": 100, "label_mismatches": 0, "max_score_difference": 0.0}','d455beff5f584d922f479cec62df428d947d703a0c5659a76e8bb895d5902c5f','m','1','tweets:1','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.680146','2026-11-24 09:36:33.611574');
INSERT INTO "versions" VALUES(2,'default/tweets',2,'production','passed the gate and was loaded','989d83b0626a12d081984836945e87932f3f61fbf51695168f61014611abfaf6','0000000000000000000000000000000000000000000000000000000000000000',1,'01a20cea-0765-73b9-b925-55d2c2c3a085','01a20cea-0766-7788-a9b8-f01d57409d0c','{"fingerprint": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "files": {}, "rows": 500, "train_rows": 400, "holdout_rows": 100, "period": ["2021-01-01T00:00:00Z", "2021-01-01T00:00:00Z"], "train_until": "2021-01-01T00:00:00Z", "cutoff": "2021-01-01T00:00:00Z", "spec_digest": "bb41819afd9517b3547fd9c7c42df9e6cf6fd74a92fd6ad653dbba81414c15a0", "recipe_digest": "r", "code_version": "c"}','{"roc_auc": 0.8}','{"roc_auc": 0.5}','{"roc_auc": 0.7}','{"rows": 100, "label_mismatches": 0, "max_score_difference": 0.0}','fc63c1086891752c14d9efbaaa8cc18788d5db1936d5751231707dd860faea4d','m','1','tweets:1','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2026-11-24 09:36:33.680363','2026-11-24 09:36:33.680363');
CREATE TABLE windows (
	id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	monitor VARCHAR NOT NULL, 
	spec_digest VARCHAR NOT NULL, 
	after_time DATETIME NOT NULL, 
	after_id VARCHAR NOT NULL, 
	until_time DATETIME NOT NULL, 
	until_id VARCHAR NOT NULL, 
	rows INTEGER NOT NULL, 
	labelled INTEGER NOT NULL, 
	late_rows INTEGER DEFAULT '0' NOT NULL, 
	verdict JSON NOT NULL, 
	revision INTEGER NOT NULL, 
	cut_at DATETIME NOT NULL, 
	scored_at DATETIME NOT NULL, 
	labels_due_at DATETIME NOT NULL, 
	look_at DATETIME, 
	error_at DATETIME, 
	PRIMARY KEY (id), 
	FOREIGN KEY(model) REFERENCES models (id)
);
INSERT INTO "windows" VALUES('w-c8efb06f51a8e8580848f35d','default/tweets',1,'weekly','s','2021-01-01 01:00:00.000000','','2021-01-01 02:00:00.000000','',100,0,0,'{"drifted_share": 0.0, "features": {}, "error": null}',1,'2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2021-01-02 01:00:00.000000',NULL,NULL);
INSERT INTO "windows" VALUES('w-eb5c99803ba296e536e1ba41','default/tweets',1,'weekly','s','2021-01-01 02:00:00.000000','','2021-01-01 03:00:00.000000','',100,0,0,'{"drifted_share": 1.0, "features": {}, "error": null}',1,'2021-01-01 00:00:00.000000','2021-01-01 00:00:00.000000','2021-01-02 02:00:00.000000',NULL,NULL);
CREATE INDEX ix_outbox_published_at ON outbox (published_at);
CREATE INDEX windows_awaiting_labels ON windows (model, labels_due_at, id) WHERE error_at IS NULL;
CREATE INDEX windows_in_order ON windows (model, version, monitor, until_time, until_id);
CREATE INDEX windows_to_judge ON windows (model, version, monitor, until_time, until_id, cut_at, error_at, id);
CREATE INDEX decisions_in_order ON decisions (model, id);
CREATE INDEX ix_firings_model ON firings (model);
CREATE UNIQUE INDEX one_active_run_for_each_model ON training_runs (model) WHERE state in ('asked', 'running');
CREATE INDEX ix_training_runs_model ON training_runs (model);
CREATE UNIQUE INDEX one_production_for_each_model ON versions (model) WHERE state = 'production';
CREATE UNIQUE INDEX one_staging_for_each_model ON versions (model) WHERE state = 'staging';
CREATE INDEX ix_versions_model ON versions (model);
CREATE INDEX ix_gate_verdicts_model ON gate_verdicts (model);
COMMIT;
