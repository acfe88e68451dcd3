def tonumber:
  if isnumber then .
  else . as $given
    | (if isstring then (try fromjson catch null) else null end)
    | if isnumber then . else error("\($given | tojson) cannot be parsed as a number") end
  end;
def toboolean:
  if isboolean then .
  elif . == "true" then true
  elif . == "false" then false
  else error("\(tojson) cannot be parsed as a boolean") end;

def ltrimstr($part):
  if isstring and ($part | isstring) then ltrimstr_($part) else . end;
def rtrimstr($part):
  if isstring and ($part | isstring) then rtrimstr_($part) else . end;

def toarray: if isarray then . else [.] end;
def transpose:
  . as $rows | (map(length) | max // 0) as $width
  | [range($width) as $n | $rows | map(.[$n])];
def join($between):
  def shown: if . == null then "" elif isstring then . else tojson end;
  if length == 0 then ""
  else reduce .[1:][] as $part (.[0] | shown; . + ($between + ($part | shown))) end;

def in($from): . as $key | $from | has($key);
def inside($from): . as $part | $from | contains($part);
def index($part): indices($part) | first;
def rindex($part): indices($part) | last;
def ascii: [.] | implode;
def leaf_paths: paths(scalars);

def from_entries:
  def name:
    [.key, .k, .name, .Key, .K, .Name] | map(select(. != null)) | first
    | if isstring then . elif . == null then "null" else tojson end;
  def content: if has("value") then .value elif has("v") then .v else .Value end;
  reduce .[] as $entry ({}; .[$entry | name] = ($entry | content));
def with_entries(f): to_entries | map(f) | from_entries;

def INDEX(rows; key): reduce rows as $row ({}; .[$row | key | tostring] = $row);
def INDEX(key): INDEX(.[]; key);
def IN(values): . as $one | any(values; . == $one);
def IN(these; values): any(these; IN(values));

def strptime($format):
  if ($format | tostring | contains("Q")) then error("names of time zones are not supported")
  else strptime_($format) end;

def @json: tojson;
def @csv:
  map(
    if . == null then ""
    elif isstring then "\"" + (split("\"") | join("\"\"")) + "\""
    elif isarray or isobject then error("\(tojson) cannot stand in a row of csv")
    else tojson end)
  | join(",");
def @tsv:
  def escaped(char; by): split(char) | join(by);
  map(
    if . == null then ""
    elif isstring then
      escaped("\\"; "\\\\") | escaped("\t"; "\\t") | escaped("\n"; "\\n") | escaped("\r"; "\\r")
    elif isarray or isobject then error("\(tojson) cannot stand in a row of tsv")
    else tojson end)
  | join("\t");
