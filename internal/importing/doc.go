// Package importing takes over other systems' records: it reads CSV files through a mapping, counts what is odd about
// them and hands each record to a sink.
//
// # Mapping
//
// A mapping is a YAML file. A key that is not listed here is refused, and so is a column that a file's header lacks; both
// before anything is imported, with file, line and key. Only what the mapping names is read. Anchors are refused.
//
//	source: nyc311                  # required; 1 to 32 of a-z 0-9 - _ .
//	id: id                          # required; the column that tells records apart
//	csv:
//	  delimiter: ","                # one ASCII character, or tab
//	  lazy_quotes: false            # true: a quote may stand in the middle of a field
//	time:
//	  zone: America/New_York        # of times that say none; days begin there. UTC if absent
//	  formats: [rfc3339]            # tried in order: rfc3339, datetime (2006-01-02 15:04:05), date (2006-01-02), unix,
//	                                # unix_ms, or a layout as in Go's package time. rfc3339 if absent
//	reported: created_at            # required; when the matter was reported
//	closed: closed_at               # empty: still open
//	due: due_at
//	category: category
//	subcategory: subcategory
//	agency: agency
//	status: {column: status, closed: [Closed]}             # or just the column; closed: what closed records say
//	on_time: {column: on_time, yes: [ONTIME], no: [LATE]}  # only compared with the times
//	channel: {column: channel, values: {Phone: hotline}, default: import} # or one of hotline, grid, wall, patrol, media,
//	                                # web, police, superior, proactive, import; import if absent
//	position: {lon: lon, lat: lat, datum: wgs84}           # degrees; wgs84, cgcs2000 or gcj02
//	particulars:                    # free text, sealed: a column or a list of columns, joined by "; "
//	  title: headline
//	  text: words
//	  place: [location_type, location]
//	  cause: cause
//	  course: course
//	  reply: resolution
//	  note: remark
//	petitioner: {name: name, phone: phone, id_number: id_number, address: address} # sealed
//	levels:                         # tree levels outermost first
//	  - {name: borough, column: borough, tree: true, name_column: borough_name}
//	  - {name: precinct, column: precinct, tree: false}    # a dimension
//
// A level that is part of the tree gives a step of the record's path; an empty one is left out. A dimension groups by its
// exact text, so " " and the empty text are two values. Names and phone numbers of petitioners lose the
// spaces around them; no other text is changed.
//
// # Records
//
// Files are UTF-8, with or without a byte order mark, plain or gzip, with a header; their columns may stand in another
// order in each. Times are kept to whole microseconds. The nth row with one id in the files and order given becomes id,
// id#2, id#3, …, so the same files in the same order always give the same records. Rows whose id is known count even if they
// are quarantined.
//
// A source reference is 1 to 128 printable ASCII characters. Bytes outside of 0x21 to 0x7E and "%" are percent-encoded, as is a
// "#" that would look like a number of ours ("a#2" becomes "a%232"). What is longer then keeps its first 63 characters, followed
// by "~" and the SHA-256 of the whole in hex. A request id is "import/<source>/<source reference>", shortened in the same way.
//
// # Oddities and quarantine
//
// An odd record is imported as it is, and its kinds of oddity are counted and go with it; see Kinds. A row that cannot be
// understood, or that the sink refuses, goes to the quarantine file with its file, line and reason. A record is never imported
// without a time that its row has: where a time cannot be read, it would otherwise count as open, or as without a due time.
//
// After a row whose quotes or columns are wrong, reading goes on with the next line, so one stray quote costs no more than
// the lines it stands in.
package importing
